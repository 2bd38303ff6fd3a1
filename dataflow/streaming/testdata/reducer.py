#!/usr/bin/env python3
"""Word count, the reducer: lines of one word stand together, so it holds one word."""

import sys

current, total = None, 0

for line in sys.stdin:
    word, count = line.strip().split('\t', 1)
    try:
        count = int(count)
    except ValueError:
        continue
    if word == current:
        total += count
        continue
    if current is not None:
        print('%s\t%s' % (current, total))
    current, total = word, count

if current is not None:
    print('%s\t%s' % (current, total))
