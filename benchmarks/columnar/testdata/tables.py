"""tables.py DIR ROWS: tables of numbers in Parquet files, eight a table.

facts: ROWS rows; key is one of ROWS / 2 at random, part one of ROWS / 20, value a number.
parts: ROWS / 20 rows, a key each, and a weight.
"""
import os
import sys

import duckdb

out, rows = sys.argv[1], int(sys.argv[2])
con = duckdb.connect(config={"threads": 2})
for table, n, columns in [
    ("facts", rows, f"(hash(i) % {rows // 2})::bigint as key, (hash(i + 1000000007) % {rows // 20})::bigint as part, (hash(i * 31) % 1000)::bigint as value"),
    ("parts", rows // 20, "i::bigint as part, (hash(i * 17) % 100)::bigint as weight"),
]:
    os.makedirs(f"{out}/{table}")
    for f in range(8):
        con.execute(f"copy (select {columns} from range({n * f // 8}, {n * (f + 1) // 8}) t(i)) to '{out}/{table}/{f}.parquet' (compression zstd)")
