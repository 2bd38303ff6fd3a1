select count(*) as pairs, sum(value * weight) as weighted
from facts join parts on facts.part = parts.part
