"""serve_polars.py DATA SCALE: Polars does what `query serve DATA` does.

The queries are the SQL ones, written as Polars wants them: joins in an order that is good,
subqueries that are correlated as joins. How many threads there are POLARS_MAX_THREADS says."""
import os
import pathlib
import sys
from datetime import date

import polars as pl
import polars.selectors as cs
from polars import col

data, scale = pathlib.Path(sys.argv[1]), int(sys.argv[2])


def table(name):
    """Products of decimals are rounded to the digits of their factors, so that they are doubles here."""
    return pl.scan_parquet(f"{data}/{name}/*.parquet").with_columns(cs.decimal().cast(pl.Float64))


def like(column, *parts):
    """column like '%part%part%...'"""
    return col(column).str.contains(".*".join(parts))


def revenue():
    return col("l_extendedprice") * (1 - col("l_discount"))


def q01():
    return (
        table("lineitem")
        .filter(col("l_shipdate") <= date(1998, 9, 2))
        .group_by("l_returnflag", "l_linestatus")
        .agg(
            sum_qty=col("l_quantity").sum(),
            sum_base_price=col("l_extendedprice").sum(),
            sum_disc_price=revenue().sum(),
            sum_charge=(revenue() * (1 + col("l_tax"))).sum(),
            avg_qty=col("l_quantity").mean(),
            avg_price=col("l_extendedprice").mean(),
            avg_disc=col("l_discount").mean(),
            count_order=pl.len(),
        )
        .sort("l_returnflag", "l_linestatus")
    )


def q02():
    offers = (
        table("region")
        .filter(col("r_name") == "EUROPE")
        .join(table("nation"), left_on="r_regionkey", right_on="n_regionkey")
        .join(table("supplier"), left_on="n_nationkey", right_on="s_nationkey")
        .join(table("partsupp"), left_on="s_suppkey", right_on="ps_suppkey")
        .join(
            table("part").filter((col("p_size") == 15) & col("p_type").str.ends_with("BRASS")),
            left_on="ps_partkey",
            right_on="p_partkey",
        )
    )
    return (
        offers.group_by("ps_partkey")
        .agg(col("ps_supplycost").min())
        .join(offers, on=["ps_partkey", "ps_supplycost"])
        .select("s_acctbal", "s_name", "n_name", p_partkey="ps_partkey", p_mfgr="p_mfgr", s_address="s_address", s_phone="s_phone", s_comment="s_comment")
        .sort("s_acctbal", "n_name", "s_name", "p_partkey", descending=[True, False, False, False])
        .head(100)
    )


def q03():
    return (
        table("customer")
        .filter(col("c_mktsegment") == "BUILDING")
        .join(table("orders").filter(col("o_orderdate") < date(1995, 3, 15)), left_on="c_custkey", right_on="o_custkey")
        .join(table("lineitem").filter(col("l_shipdate") > date(1995, 3, 15)), left_on="o_orderkey", right_on="l_orderkey")
        .group_by("o_orderkey", "o_orderdate", "o_shippriority")
        .agg(revenue=revenue().sum())
        .select(l_orderkey="o_orderkey", revenue="revenue", o_orderdate="o_orderdate", o_shippriority="o_shippriority")
        .sort("revenue", "o_orderdate", descending=[True, False])
        .head(10)
    )


def q04():
    return (
        table("orders")
        .filter(col("o_orderdate") >= date(1993, 7, 1), col("o_orderdate") < date(1993, 10, 1))
        .join(table("lineitem").filter(col("l_commitdate") < col("l_receiptdate")), left_on="o_orderkey", right_on="l_orderkey", how="semi")
        .group_by("o_orderpriority")
        .agg(order_count=pl.len())
        .sort("o_orderpriority")
    )


def q05():
    return (
        table("region")
        .filter(col("r_name") == "ASIA")
        .join(table("nation"), left_on="r_regionkey", right_on="n_regionkey")
        .join(table("customer"), left_on="n_nationkey", right_on="c_nationkey")
        .join(
            table("orders").filter(col("o_orderdate") >= date(1994, 1, 1), col("o_orderdate") < date(1995, 1, 1)),
            left_on="c_custkey",
            right_on="o_custkey",
        )
        .join(table("lineitem"), left_on="o_orderkey", right_on="l_orderkey")
        .join(table("supplier"), left_on=["l_suppkey", "n_nationkey"], right_on=["s_suppkey", "s_nationkey"])
        .group_by("n_name")
        .agg(revenue=revenue().sum())
        .sort("revenue", descending=True)
    )


def q06():
    return (
        table("lineitem")
        .filter(
            col("l_shipdate") >= date(1994, 1, 1),
            col("l_shipdate") < date(1995, 1, 1),
            col("l_discount").is_between(0.05, 0.07),
            col("l_quantity") < 24,
        )
        .select(revenue=(col("l_extendedprice") * col("l_discount")).sum())
    )


def q07():
    def way(here, there):
        return (
            table("nation")
            .filter(col("n_name") == here)
            .join(table("supplier"), left_on="n_nationkey", right_on="s_nationkey")
            .select("s_suppkey", supp_nation="n_name")
            .join(table("lineitem").filter(col("l_shipdate").is_between(date(1995, 1, 1), date(1996, 12, 31))), left_on="s_suppkey", right_on="l_suppkey")
            .join(
                table("nation")
                .filter(col("n_name") == there)
                .join(table("customer"), left_on="n_nationkey", right_on="c_nationkey")
                .join(table("orders"), left_on="c_custkey", right_on="o_custkey")
                .select("o_orderkey", cust_nation="n_name"),
                left_on="l_orderkey",
                right_on="o_orderkey",
            )
        )

    return (
        pl.concat([way("FRANCE", "GERMANY"), way("GERMANY", "FRANCE")])
        .group_by("supp_nation", "cust_nation", l_year=col("l_shipdate").dt.year())
        .agg(revenue=revenue().sum())
        .sort("supp_nation", "cust_nation", "l_year")
    )


def q08():
    nation = table("nation").select("n_nationkey", "n_regionkey", "n_name")
    return (
        table("part")
        .filter(col("p_type") == "ECONOMY ANODIZED STEEL")
        .join(table("lineitem"), left_on="p_partkey", right_on="l_partkey")
        .join(table("orders").filter(col("o_orderdate").is_between(date(1995, 1, 1), date(1996, 12, 31))), left_on="l_orderkey", right_on="o_orderkey")
        .join(table("customer"), left_on="o_custkey", right_on="c_custkey")
        .join(nation.select("n_nationkey", "n_regionkey"), left_on="c_nationkey", right_on="n_nationkey")
        .join(table("region").filter(col("r_name") == "AMERICA"), left_on="n_regionkey", right_on="r_regionkey")
        .join(table("supplier"), left_on="l_suppkey", right_on="s_suppkey")
        .join(nation.select("n_nationkey", "n_name"), left_on="s_nationkey", right_on="n_nationkey")
        .select(o_year=col("o_orderdate").dt.year(), volume=revenue(), nation="n_name")
        .group_by("o_year")
        .agg(mkt_share=col("volume").filter(col("nation") == "BRAZIL").sum() / col("volume").sum())
        .sort("o_year")
    )


def q09():
    return (
        table("part")
        .filter(like("p_name", "green"))
        .join(table("partsupp"), left_on="p_partkey", right_on="ps_partkey")
        .join(table("supplier"), left_on="ps_suppkey", right_on="s_suppkey")
        .join(table("lineitem"), left_on=["p_partkey", "ps_suppkey"], right_on=["l_partkey", "l_suppkey"])
        .join(table("orders"), left_on="l_orderkey", right_on="o_orderkey")
        .join(table("nation"), left_on="s_nationkey", right_on="n_nationkey")
        .group_by(nation="n_name", o_year=col("o_orderdate").dt.year())
        .agg(sum_profit=(revenue() - col("ps_supplycost") * col("l_quantity")).sum())
        .sort("nation", "o_year", descending=[False, True])
    )


def q10():
    key = ["c_custkey", "c_name", "c_acctbal", "c_phone", "n_name", "c_address", "c_comment"]
    return (
        table("orders")
        .filter(col("o_orderdate") >= date(1993, 10, 1), col("o_orderdate") < date(1994, 1, 1))
        .join(table("lineitem").filter(col("l_returnflag") == "R"), left_on="o_orderkey", right_on="l_orderkey")
        .join(table("customer"), left_on="o_custkey", right_on="c_custkey")
        .join(table("nation"), left_on="c_nationkey", right_on="n_nationkey")
        .rename({"o_custkey": "c_custkey"})
        .group_by(key)
        .agg(revenue=revenue().sum())
        .select("c_custkey", "c_name", "revenue", "c_acctbal", "n_name", "c_address", "c_phone", "c_comment")
        .sort("revenue", descending=True)
        .head(20)
    )


def q11():
    value = (col("ps_supplycost") * col("ps_availqty")).sum()
    german = (
        table("nation")
        .filter(col("n_name") == "GERMANY")
        .join(table("supplier"), left_on="n_nationkey", right_on="s_nationkey")
        .join(table("partsupp"), left_on="s_suppkey", right_on="ps_suppkey")
    )
    return (
        german.group_by("ps_partkey")
        .agg(value=value)
        .join(german.select(least=value * (0.0001 / scale)), how="cross")
        .filter(col("value") > col("least"))
        .select("ps_partkey", "value")
        .sort("value", descending=True)
    )


def q12():
    high = col("o_orderpriority").is_in(["1-URGENT", "2-HIGH"])
    return (
        table("lineitem")
        .filter(
            col("l_shipmode").is_in(["MAIL", "SHIP"]),
            col("l_commitdate") < col("l_receiptdate"),
            col("l_shipdate") < col("l_commitdate"),
            col("l_receiptdate") >= date(1994, 1, 1),
            col("l_receiptdate") < date(1995, 1, 1),
        )
        .join(table("orders"), left_on="l_orderkey", right_on="o_orderkey")
        .group_by("l_shipmode")
        .agg(high_line_count=high.sum(), low_line_count=(~high).sum())
        .sort("l_shipmode")
    )


def q13():
    return (
        table("customer")
        .join(table("orders").filter(~like("o_comment", "special", "requests")), left_on="c_custkey", right_on="o_custkey", how="left")
        .group_by("c_custkey")
        .agg(c_count=col("o_orderkey").count())
        .group_by("c_count")
        .agg(custdist=pl.len())
        .sort("custdist", "c_count", descending=True)
    )


def q14():
    promo = pl.when(col("p_type").str.starts_with("PROMO")).then(revenue()).otherwise(0)
    return (
        table("lineitem")
        .filter(col("l_shipdate") >= date(1995, 9, 1), col("l_shipdate") < date(1995, 10, 1))
        .join(table("part"), left_on="l_partkey", right_on="p_partkey")
        .select(promo_revenue=100.0 * promo.sum() / revenue().sum())
    )


def q15():
    each = (
        table("lineitem")
        .filter(col("l_shipdate") >= date(1996, 1, 1), col("l_shipdate") < date(1996, 4, 1))
        .group_by("l_suppkey")
        .agg(total_revenue=revenue().sum())
    )
    return (
        each.filter(col("total_revenue") == col("total_revenue").max())
        .join(table("supplier"), left_on="l_suppkey", right_on="s_suppkey")
        .select("l_suppkey", "s_name", "s_address", "s_phone", "total_revenue")
        .sort("l_suppkey")
    )


def q16():
    return (
        table("part")
        .filter(col("p_brand") != "Brand#45", ~col("p_type").str.starts_with("MEDIUM POLISHED"), col("p_size").is_in([49, 14, 23, 45, 19, 3, 36, 9]))
        .join(table("partsupp"), left_on="p_partkey", right_on="ps_partkey")
        .join(table("supplier").filter(like("s_comment", "Customer", "Complaints")), left_on="ps_suppkey", right_on="s_suppkey", how="anti")
        .group_by("p_brand", "p_type", "p_size")
        .agg(supplier_cnt=col("ps_suppkey").n_unique())
        .sort("supplier_cnt", "p_brand", "p_type", "p_size", descending=[True, False, False, False])
    )


def q17():
    lines = (
        table("part")
        .filter(col("p_brand") == "Brand#23", col("p_container") == "MED BOX")
        .join(table("lineitem"), left_on="p_partkey", right_on="l_partkey")
    )
    return (
        lines.group_by("p_partkey")
        .agg(least=0.2 * col("l_quantity").mean())
        .join(lines, on="p_partkey")
        .filter(col("l_quantity") < col("least"))
        .select(avg_yearly=pl.when(pl.len() > 0).then(col("l_extendedprice").sum() / 7))
    )


def q18():
    large = table("lineitem").group_by("l_orderkey").agg(sum_qty=col("l_quantity").sum()).filter(col("sum_qty") > 300)
    return (
        large.join(table("orders"), left_on="l_orderkey", right_on="o_orderkey")
        .join(table("customer"), left_on="o_custkey", right_on="c_custkey")
        .select("c_name", c_custkey="o_custkey", o_orderkey="l_orderkey", o_orderdate="o_orderdate", o_totalprice="o_totalprice", sum_qty="sum_qty")
        .sort("o_totalprice", "o_orderdate", descending=[True, False])
        .head(100)
    )


def q19():
    def kind(brand, containers, quantity, size):
        return (
            (col("p_brand") == brand)
            & col("p_container").is_in(containers)
            & col("l_quantity").is_between(quantity, quantity + 10)
            & col("p_size").is_between(1, size)
        )

    return (
        table("lineitem")
        .filter(col("l_shipmode").is_in(["AIR", "AIR REG"]), col("l_shipinstruct") == "DELIVER IN PERSON")
        .join(table("part"), left_on="l_partkey", right_on="p_partkey")
        .filter(
            kind("Brand#12", ["SM CASE", "SM BOX", "SM PACK", "SM PKG"], 1, 5)
            | kind("Brand#23", ["MED BAG", "MED BOX", "MED PKG", "MED PACK"], 10, 10)
            | kind("Brand#34", ["LG CASE", "LG BOX", "LG PACK", "LG PKG"], 20, 15)
        )
        .select(revenue=revenue().sum())
    )


def q20():
    shipped = (
        table("lineitem")
        .filter(col("l_shipdate") >= date(1994, 1, 1), col("l_shipdate") < date(1995, 1, 1))
        .group_by("l_partkey", "l_suppkey")
        .agg(half=0.5 * col("l_quantity").sum())
    )
    return (
        table("part")
        .filter(col("p_name").str.starts_with("forest"))
        .join(table("partsupp"), left_on="p_partkey", right_on="ps_partkey")
        .join(shipped, left_on=["p_partkey", "ps_suppkey"], right_on=["l_partkey", "l_suppkey"])
        .filter(col("ps_availqty") > col("half"))
        .select("ps_suppkey")
        .unique()
        .join(
            table("nation").filter(col("n_name") == "CANADA").join(table("supplier"), left_on="n_nationkey", right_on="s_nationkey"),
            left_on="ps_suppkey",
            right_on="s_suppkey",
        )
        .select("s_name", "s_address")
        .sort("s_name")
    )


def q21():
    late = table("lineitem").filter(col("l_receiptdate") > col("l_commitdate"))
    several = table("lineitem").group_by("l_orderkey").agg(suppliers=col("l_suppkey").n_unique()).filter(col("suppliers") > 1)
    blamed = late.join(several, on="l_orderkey")
    return (
        blamed.group_by("l_orderkey")
        .agg(late_suppliers=col("l_suppkey").n_unique())
        .filter(col("late_suppliers") == 1)
        .join(blamed, on="l_orderkey")
        .join(table("supplier"), left_on="l_suppkey", right_on="s_suppkey")
        .join(table("nation").filter(col("n_name") == "SAUDI ARABIA"), left_on="s_nationkey", right_on="n_nationkey")
        .join(table("orders").filter(col("o_orderstatus") == "F"), left_on="l_orderkey", right_on="o_orderkey")
        .group_by("s_name")
        .agg(numwait=pl.len())
        .sort("numwait", "s_name", descending=[True, False])
        .head(100)
    )


def q22():
    rich = (
        table("customer")
        .select("c_custkey", "c_acctbal", cntrycode=col("c_phone").str.slice(0, 2))
        .filter(col("cntrycode").is_in(["13", "31", "23", "29", "30", "18", "17"]))
    )
    return (
        rich.join(rich.filter(col("c_acctbal") > 0).select(mean=col("c_acctbal").mean()), how="cross")
        .filter(col("c_acctbal") > col("mean"))
        .join(table("orders"), left_on="c_custkey", right_on="o_custkey", how="anti")
        .group_by("cntrycode")
        .agg(numcust=pl.len(), totacctbal=col("c_acctbal").sum())
        .sort("cntrycode")
    )


for line in sys.stdin:
    try:
        number, out = line.rstrip("\n").split(" ", 1)
        os.makedirs(out, exist_ok=True)
        globals()[f"q{int(number):02d}"]().collect(engine="streaming").write_csv(f"{out}/part-0.csv")
        print("ok", flush=True)
    except Exception as e:
        print(f"{type(e).__name__}: {e}".replace("\n", " "), flush=True)
