"""duckdb_words.py IN OUT THREADS: counts the words of a text, a line "word<tab>count" each."""
import sys

import duckdb

text, out, threads = sys.argv[1:]
con = duckdb.connect(config={"threads": int(threads)})
# No byte is a delimiter, a quote or an escape: a line is one value.
con.execute(rf"""
copy (
  select word, count(*) as n
  from (select unnest(string_split(line, ' ')) as word
        from read_csv('{text}', columns = {{'line': 'VARCHAR'}}, delim = '\x01', quote = '', escape = '', header = false, auto_detect = false))
  where word <> ''
  group by word
) to '{out}' (format csv, delimiter '\t', quote '', escape '', header false)
""")
