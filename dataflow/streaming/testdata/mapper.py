#!/usr/bin/env python3
"""Word count, the mapper: a word, a tab and a 1 for each word of each line."""

import sys

for line in sys.stdin:
    line = line.strip()
    for word in line.split():
        print('%s\t%s' % (word, 1))
