"""duckdb_pagerank.py EDGES OUT ITERATIONS THREADS: ranks nodes as examples/pagerank does, by SQL in a loop."""
import sys

import duckdb

edges, out, iterations, threads = sys.argv[1:]
con = duckdb.connect(config={"threads": int(threads)})
con.execute(f"""
create table named as
  select a, b from read_csv('{edges}', columns = {{'a': 'VARCHAR', 'b': 'VARCHAR'}}, delim = '\t', quote = '', escape = '', header = false, auto_detect = false)
""")
con.execute("create table nodes as select name, (row_number() over ())::int as id from (select a as name from named union select b from named)")
con.execute("create table edges as select x.id as f, y.id as t from named join nodes x on x.name = a join nodes y on y.name = b")
con.execute("create table degrees as select f, count(*)::double as n from edges group by f")
con.execute("create table ranks as select id, 1.0::double / (select count(*) from nodes) as r from nodes")
for _ in range(int(iterations)):
    con.execute("""
create or replace table ranks as
  with everyone as (select count(*)::double as n, coalesce(sum(r) filter (where f is null), 0) as lost from ranks left join degrees on f = id),
  received as (select t, sum(r / n) as r from edges join ranks on ranks.id = edges.f join degrees on degrees.f = edges.f group by t)
  select id, 0.15 / n + 0.85 * (coalesce(received.r, 0) + lost / n) as r from nodes cross join everyone left join received on t = id
""")
con.execute(f"copy (select name, r from ranks join nodes using (id)) to '{out}' (format csv, delimiter '\t', quote '', escape '', header false)")
