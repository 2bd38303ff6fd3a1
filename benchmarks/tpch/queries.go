package tpch

import (
	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
)

// queries are the 22 of the specification with its validation parameters. Joins are
// in an order that keeps little: the small side is the right one and goes to all
// tasks where it is a filtered dimension.
var queries = []func(d *database) df.Table{q1, q2, q3, q4, q5, q6, q7, q8, q9, q10, q11, q12, q13, q14, q15, q16, q17, q18, q19, q20, q21, q22}

var (
	col  = expr.Col
	date = expr.Date
	dec  = expr.Dec
	// toAll sends the right side of a join to every task.
	toAll = df.BroadcastRight()
	// one keeps a small result in one part.
	one = df.Partitions(1)
	// revenue is what a line brings.
	revenue = col("l_extendedprice").Mul(expr.Lit(1).Sub(col("l_discount")))
)

// within is from <= e < from + months.
func within(e expr.Expr, from string, months int) expr.Expr {
	return e.Ge(date(from)).And(e.Lt(date(from).AddMonths(months)))
}

// nationsOf is the nations of a region.
func (d *database) nationsOf(region string) df.Table {
	return d.nation().SemiJoin(d.region().Where(col("r_name").Eq(region)), df.Equal("n_regionkey", "r_regionkey"), toAll)
}

func q1(d *database) df.Table {
	return d.lineitem().
		Where(col("l_shipdate").Le(date("1998-12-01").AddDays(-90))).
		GroupBy("l_returnflag", "l_linestatus").
		Agg(df.SumOf("sum_qty", col("l_quantity")), df.SumOf("sum_base_price", col("l_extendedprice")),
			df.SumOf("sum_disc_price", revenue), df.SumOf("sum_charge", revenue.Mul(expr.Lit(1).Add(col("l_tax")))),
			df.AvgOf("avg_qty", col("l_quantity")), df.AvgOf("avg_price", col("l_extendedprice")), df.AvgOf("avg_disc", col("l_discount")),
			df.CountRows("count_order")).
		OrderBy(df.Asc("l_returnflag"), df.Asc("l_linestatus"), one)
}

func q2(d *database) df.Table {
	suppliers := d.supplier().Join(d.nationsOf("EUROPE"), df.Equal("s_nationkey", "n_nationkey"), toAll)
	parts := d.part().Where(col("p_size").Eq(15), col("p_type").HasSuffix("BRASS"))
	offers := d.partsupp().
		Join(parts, df.Equal("ps_partkey", "p_partkey"), toAll).
		Join(suppliers, df.Equal("ps_suppkey", "s_suppkey"), toAll).
		Select("ps_supplycost", "s_acctbal", "s_name", "n_name", "p_partkey", "p_mfgr", "s_address", "s_phone", "s_comment").
		Cached()
	least := offers.GroupBy(df.As("least_part", col("p_partkey"))).Agg(df.MinOf("least", col("ps_supplycost")))
	return offers.
		Join(least, df.Equal("p_partkey", "least_part").And("ps_supplycost", "least")).
		Select("s_acctbal", "s_name", "n_name", "p_partkey", "p_mfgr", "s_address", "s_phone", "s_comment").
		TopN(100, df.Desc("s_acctbal"), df.Asc("n_name"), df.Asc("s_name"), df.Asc("p_partkey"))
}

func q3(d *database) df.Table {
	orders := d.orders().Where(col("o_orderdate").Lt(date("1995-03-15"))).
		SemiJoin(d.customer().Where(col("c_mktsegment").Eq("BUILDING")), df.Equal("o_custkey", "c_custkey"), toAll)
	return d.lineitem().Where(col("l_shipdate").Gt(date("1995-03-15"))).
		Join(orders, df.Equal("l_orderkey", "o_orderkey"), toAll).
		GroupBy("l_orderkey", "o_orderdate", "o_shippriority").
		Agg(df.SumOf("revenue", revenue)).
		Select("l_orderkey", "revenue", "o_orderdate", "o_shippriority").
		TopN(10, df.Desc("revenue"), df.Asc("o_orderdate"))
}

func q4(d *database) df.Table {
	orders := d.orders().Where(within(col("o_orderdate"), "1993-07-01", 3))
	return d.lineitem().Where(col("l_commitdate").Lt(col("l_receiptdate"))).
		Join(orders, df.Equal("l_orderkey", "o_orderkey"), toAll).
		GroupBy("l_orderkey").Agg(df.AnyOf("o_orderpriority", col("o_orderpriority"))).
		GroupBy("o_orderpriority").Agg(df.CountRows("order_count")).
		OrderBy(df.Asc("o_orderpriority"), one)
}

func q5(d *database) df.Table {
	nations := d.nationsOf("ASIA")
	customers := d.customer().SemiJoin(nations, df.Equal("c_nationkey", "n_nationkey"), toAll)
	suppliers := d.supplier().Join(nations, df.Equal("s_nationkey", "n_nationkey"), toAll)
	orders := d.orders().Where(within(col("o_orderdate"), "1994-01-01", 12)).
		Join(customers, df.Equal("o_custkey", "c_custkey"), toAll)
	return d.lineitem().
		Join(orders, df.Equal("l_orderkey", "o_orderkey"), toAll).
		Join(suppliers, df.Equal("l_suppkey", "s_suppkey").And("c_nationkey", "s_nationkey"), toAll).
		GroupBy("n_name").Agg(df.SumOf("revenue", revenue)).
		OrderBy(df.Desc("revenue"), one)
}

func q6(d *database) df.Table {
	return d.lineitem().
		Where(within(col("l_shipdate"), "1994-01-01", 12), col("l_discount").Between(dec("0.05"), dec("0.07")), col("l_quantity").Lt(24)).
		GroupBy().Agg(df.SumOf("revenue", col("l_extendedprice").Mul(col("l_discount"))))
}

func q7(d *database) df.Table {
	two := d.nation().Where(col("n_name").In("FRANCE", "GERMANY"))
	suppliers := d.supplier().Join(two.Prefix("s_"), df.Equal("s_nationkey", "s_n_nationkey"), toAll)
	customers := d.customer().Join(two.Prefix("c_"), df.Equal("c_nationkey", "c_n_nationkey"), toAll)
	orders := d.orders().Join(customers, df.Equal("o_custkey", "c_custkey"), toAll)
	return d.lineitem().Where(col("l_shipdate").Between(date("1995-01-01"), date("1996-12-31"))).
		Join(suppliers, df.Equal("l_suppkey", "s_suppkey"), toAll).
		Join(orders, df.Equal("l_orderkey", "o_orderkey"), toAll).
		Where(col("s_n_name").Ne(col("c_n_name"))).
		GroupBy(df.As("supp_nation", col("s_n_name")), df.As("cust_nation", col("c_n_name")), df.As("l_year", col("l_shipdate").Year())).
		Agg(df.SumOf("revenue", revenue)).
		OrderBy(df.Asc("supp_nation"), df.Asc("cust_nation"), df.Asc("l_year"), one)
}

func q8(d *database) df.Table {
	customers := d.customer().SemiJoin(d.nationsOf("AMERICA"), df.Equal("c_nationkey", "n_nationkey"), toAll)
	orders := d.orders().Where(col("o_orderdate").Between(date("1995-01-01"), date("1996-12-31"))).
		SemiJoin(customers, df.Equal("o_custkey", "c_custkey"), toAll)
	suppliers := d.supplier().Join(d.nation(), df.Equal("s_nationkey", "n_nationkey"), toAll)
	parts := d.part().Where(col("p_type").Eq("ECONOMY ANODIZED STEEL"))
	return d.lineitem().
		SemiJoin(parts, df.Equal("l_partkey", "p_partkey"), toAll).
		Join(orders, df.Equal("l_orderkey", "o_orderkey"), toAll).
		Join(suppliers, df.Equal("l_suppkey", "s_suppkey"), toAll).
		GroupBy(df.As("o_year", col("o_orderdate").Year())).
		Agg(df.SumOf("brazil", expr.If(col("n_name").Eq("BRAZIL"), revenue, 0)), df.SumOf("volume", revenue)).
		Select("o_year", df.As("mkt_share", col("brazil").Div(col("volume")))).
		OrderBy(df.Asc("o_year"), one)
}

func q9(d *database) df.Table {
	parts := d.part().Where(col("p_name").Contains("green"))
	suppliers := d.supplier().Join(d.nation(), df.Equal("s_nationkey", "n_nationkey"), toAll)
	offers := d.partsupp().SemiJoin(parts, df.Equal("ps_partkey", "p_partkey"), toAll)
	lines := d.lineitem().
		SemiJoin(parts, df.Equal("l_partkey", "p_partkey"), toAll).
		Join(offers, df.Equal("l_partkey", "ps_partkey").And("l_suppkey", "ps_suppkey"), toAll).
		Join(suppliers, df.Equal("l_suppkey", "s_suppkey"), toAll).
		Select("l_orderkey", "n_name", df.As("amount", revenue.Sub(col("ps_supplycost").Mul(col("l_quantity")))))
	return d.orders().
		Join(lines, df.Equal("o_orderkey", "l_orderkey")).
		GroupBy(df.As("nation", col("n_name")), df.As("o_year", col("o_orderdate").Year())).
		Agg(df.SumOf("sum_profit", col("amount"))).
		OrderBy(df.Asc("nation"), df.Desc("o_year"), one)
}

func q10(d *database) df.Table {
	orders := d.orders().Where(within(col("o_orderdate"), "1993-10-01", 3))
	best := d.lineitem().Where(col("l_returnflag").Eq("R")).
		Join(orders, df.Equal("l_orderkey", "o_orderkey"), toAll).
		GroupBy("o_custkey").Agg(df.SumOf("revenue", revenue)).
		TopN(20, df.Desc("revenue"))
	return d.customer().
		Join(best, df.Equal("c_custkey", "o_custkey"), toAll).
		Join(d.nation(), df.Equal("c_nationkey", "n_nationkey"), toAll).
		Select("c_custkey", "c_name", "revenue", "c_acctbal", "n_name", "c_address", "c_phone", "c_comment").
		TopN(20, df.Desc("revenue"))
}

func q11(d *database) df.Table {
	suppliers := d.supplier().SemiJoin(d.nation().Where(col("n_name").Eq("GERMANY")), df.Equal("s_nationkey", "n_nationkey"), toAll)
	value := df.SumOf("value", col("ps_supplycost").Mul(col("ps_availqty")))
	values := d.partsupp().
		SemiJoin(suppliers, df.Equal("ps_suppkey", "s_suppkey"), toAll).
		GroupBy("ps_partkey").Agg(value).Cached()
	// The fraction is 0.0001 of the scale factor, and there are 10,000 suppliers at 1.
	scale := d.supplier().GroupBy().Agg(df.CountRows("suppliers"))
	least := values.GroupBy().Agg(df.SumOf("total", col("value"))).Cross(scale).
		Select(df.As("least", col("total").Div(col("suppliers"))))
	return values.Cross(least).Where(col("value").Gt(col("least"))).
		Select("ps_partkey", "value").
		OrderBy(df.Desc("value"), one)
}

func q12(d *database) df.Table {
	lines := d.lineitem().Where(
		col("l_shipmode").In("MAIL", "SHIP"), col("l_commitdate").Lt(col("l_receiptdate")), col("l_shipdate").Lt(col("l_commitdate")),
		within(col("l_receiptdate"), "1994-01-01", 12))
	high := col("o_orderpriority").In("1-URGENT", "2-HIGH")
	return d.orders().
		Join(lines, df.Equal("o_orderkey", "l_orderkey"), toAll).
		GroupBy("l_shipmode").
		Agg(df.SumOf("high_line_count", expr.If(high, 1, 0)), df.SumOf("low_line_count", expr.If(high, 0, 1))).
		OrderBy(df.Asc("l_shipmode"), one)
}

func q13(d *database) df.Table {
	counts := d.orders().Where(col("o_comment").NotLike("%special%requests%")).
		GroupBy("o_custkey").Agg(df.CountRows("n"))
	return d.customer().
		LeftJoin(counts, df.Equal("c_custkey", "o_custkey")).
		GroupBy(df.As("c_count", expr.Coalesce(col("n"), 0))).Agg(df.CountRows("custdist")).
		OrderBy(df.Desc("custdist"), df.Desc("c_count"), one)
}

func q14(d *database) df.Table {
	lines := d.lineitem().Where(within(col("l_shipdate"), "1995-09-01", 1)).Select("l_partkey", df.As("volume", revenue))
	return d.part().
		Join(lines, df.Equal("p_partkey", "l_partkey"), toAll).
		GroupBy().
		Agg(df.SumOf("promo", expr.If(col("p_type").HasPrefix("PROMO"), col("volume"), 0)), df.SumOf("volume", col("volume"))).
		Select(df.As("promo_revenue", dec("100.00").Mul(col("promo")).Div(col("volume"))))
}

func q15(d *database) df.Table {
	revenues := d.lineitem().Where(within(col("l_shipdate"), "1996-01-01", 3)).
		GroupBy(df.As("supplier_no", col("l_suppkey"))).Agg(df.SumOf("total_revenue", revenue)).Cached()
	most := revenues.GroupBy().Agg(df.MaxOf("most", col("total_revenue")))
	best := revenues.Cross(most).Where(col("total_revenue").Eq(col("most")))
	return d.supplier().
		Join(best, df.Equal("s_suppkey", "supplier_no"), toAll).
		Select("s_suppkey", "s_name", "s_address", "s_phone", "total_revenue").
		OrderBy(df.Asc("s_suppkey"), one)
}

func q16(d *database) df.Table {
	parts := d.part().Where(col("p_brand").Ne("Brand#45"), col("p_type").NotLike("MEDIUM POLISHED%"), col("p_size").In(49, 14, 23, 45, 19, 3, 36, 9))
	bad := d.supplier().Where(col("s_comment").Like("%Customer%Complaints%"))
	return d.partsupp().
		Join(parts, df.Equal("ps_partkey", "p_partkey"), toAll).
		AntiJoin(bad, df.Equal("ps_suppkey", "s_suppkey"), toAll).
		GroupBy("p_brand", "p_type", "p_size").
		Agg(df.DistinctOf("supplier_cnt", col("ps_suppkey"))).
		OrderBy(df.Desc("supplier_cnt"), df.Asc("p_brand"), df.Asc("p_type"), df.Asc("p_size"), one)
}

func q17(d *database) df.Table {
	parts := d.part().Where(col("p_brand").Eq("Brand#23"), col("p_container").Eq("MED BOX"))
	lines := d.lineitem().
		SemiJoin(parts, df.Equal("l_partkey", "p_partkey"), toAll).
		Select("l_partkey", "l_quantity", "l_extendedprice").Cached()
	means := lines.GroupBy(df.As("partkey", col("l_partkey"))).Agg(df.AvgOf("mean", col("l_quantity")))
	return lines.
		Join(means, df.Equal("l_partkey", "partkey"), toAll).
		Where(col("l_quantity").Lt(expr.Lit(0.2).Mul(col("mean")))).
		GroupBy().Agg(df.SumOf("sum", col("l_extendedprice"))).
		Select(df.As("avg_yearly", col("sum").Div(dec("7.0"))))
}

func q18(d *database) df.Table {
	large := d.lineitem().GroupBy("l_orderkey").Agg(df.SumOf("sum_qty", col("l_quantity"))).Where(col("sum_qty").Gt(300))
	orders := d.orders().Join(large, df.Equal("o_orderkey", "l_orderkey"), toAll)
	return d.customer().
		Join(orders, df.Equal("c_custkey", "o_custkey"), toAll).
		Select("c_name", "c_custkey", "o_orderkey", "o_orderdate", "o_totalprice", "sum_qty").
		TopN(100, df.Desc("o_totalprice"), df.Asc("o_orderdate"))
}

func q19(d *database) df.Table {
	lines := d.lineitem().Where(col("l_shipmode").In("AIR", "AIR REG"), col("l_shipinstruct").Eq("DELIVER IN PERSON"))
	of := func(brand string, least, size int, containers ...any) expr.Expr {
		return expr.All(col("p_brand").Eq(brand), col("p_container").In(containers...), col("l_quantity").Between(least, least+10), col("p_size").Between(1, size))
	}
	return lines.
		Join(d.part().Where(col("p_brand").In("Brand#12", "Brand#23", "Brand#34"), col("p_size").Between(1, 15)), df.Equal("l_partkey", "p_partkey"), toAll).
		Where(of("Brand#12", 1, 5, "SM CASE", "SM BOX", "SM PACK", "SM PKG").
			Or(of("Brand#23", 10, 10, "MED BAG", "MED BOX", "MED PKG", "MED PACK")).
			Or(of("Brand#34", 20, 15, "LG CASE", "LG BOX", "LG PACK", "LG PKG"))).
		GroupBy().Agg(df.SumOf("revenue", revenue))
}

func q20(d *database) df.Table {
	parts := d.part().Where(col("p_name").HasPrefix("forest"))
	sold := d.lineitem().Where(within(col("l_shipdate"), "1994-01-01", 12)).
		SemiJoin(parts, df.Equal("l_partkey", "p_partkey"), toAll).
		GroupBy("l_partkey", "l_suppkey").Agg(df.SumOf("sold", col("l_quantity")))
	offers := d.partsupp().
		Join(sold, df.Equal("ps_partkey", "l_partkey").And("ps_suppkey", "l_suppkey"), toAll).
		Where(col("ps_availqty").Gt(dec("0.5").Mul(col("sold"))))
	return d.supplier().
		SemiJoin(d.nation().Where(col("n_name").Eq("CANADA")), df.Equal("s_nationkey", "n_nationkey"), toAll).
		SemiJoin(offers, df.Equal("s_suppkey", "ps_suppkey"), toAll).
		Select("s_name", "s_address").
		OrderBy(df.Asc("s_name"), one)
}

// q21 asks for lines that alone in their order were late, where other suppliers had
// lines too. Both are facts about the suppliers of an order: there is more than one,
// and one of those that were late. Only orders in which a supplier of the nation was
// late are looked at.
func q21(d *database) df.Table {
	late := col("l_receiptdate").Gt(col("l_commitdate"))
	lateSupplier := expr.If(late, col("l_suppkey"), expr.Expr{})
	suppliers := d.supplier().SemiJoin(d.nation().Where(col("n_name").Eq("SAUDI ARABIA")), df.Equal("s_nationkey", "n_nationkey"), toAll)
	theirs := d.lineitem().Where(late).SemiJoin(suppliers, df.Equal("l_suppkey", "s_suppkey"), toAll)
	orders := d.orders().Where(col("o_orderstatus").Eq("F")).SemiJoin(theirs, df.Equal("o_orderkey", "l_orderkey"), toAll)
	return d.lineitem().
		SemiJoin(orders, df.Equal("l_orderkey", "o_orderkey"), toAll).
		GroupBy("l_orderkey").
		Agg(df.MinOf("first", col("l_suppkey")), df.MaxOf("last", col("l_suppkey")),
			df.MinOf("late_first", lateSupplier), df.MaxOf("late_last", lateSupplier), df.SumOf("lines", expr.If(late, 1, 0))).
		Where(col("first").Ne(col("last")), col("late_first").Eq(col("late_last"))).
		Join(suppliers, df.Equal("late_first", "s_suppkey"), toAll).
		GroupBy("s_name").Agg(df.SumOf("numwait", col("lines"))).
		TopN(100, df.Desc("numwait"), df.Asc("s_name"))
}

// q22 looks for orders of the few customers that it is about.
func q22(d *database) df.Table {
	customers := d.customer().
		With(df.As("cntrycode", col("c_phone").Substr(1, 2))).
		Where(col("cntrycode").In("13", "31", "23", "29", "30", "18", "17"), col("c_acctbal").Gt(dec("0.00"))).
		Select("c_custkey", "c_acctbal", "cntrycode").
		Cached()
	mean := customers.GroupBy().Agg(df.AvgOf("mean", col("c_acctbal")))
	rich := customers.Cross(mean).Where(col("c_acctbal").Gt(col("mean"))).Select("c_custkey", "c_acctbal", "cntrycode").Cached()
	buyers := d.orders().SemiJoin(rich, df.Equal("o_custkey", "c_custkey"), toAll).Select("o_custkey").Distinct()
	return rich.
		AntiJoin(buyers, df.Equal("c_custkey", "o_custkey"), toAll).
		GroupBy("cntrycode").Agg(df.CountRows("numcust"), df.SumOf("totacctbal", col("c_acctbal"))).
		OrderBy(df.Asc("cntrycode"), one)
}
