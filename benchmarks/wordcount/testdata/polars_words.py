"""polars_words.py IN OUT: counts the words of a text, a line "word<tab>count" each."""
import sys

import polars as pl

text, out = sys.argv[1:]
(
    pl.scan_csv(text, has_header=False, new_columns=["line"], separator="\x01", quote_char=None, schema={"line": pl.String})
    .select(pl.col("line").str.split(" ").alias("word"))
    .explode("word")
    .filter(pl.col("word") != "")
    .group_by("word")
    .len()
    .sink_csv(out, include_header=False, separator="\t", quote_style="never")
)
