select count(*) as groups, sum(n * n) as squares, sum(s * (key % 1009)) as sums
from (select key, count(*) as n, sum(value) as s from facts group by key)
