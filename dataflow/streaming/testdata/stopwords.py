#!/usr/bin/env python3
"""A mapper that reads a shipped file, and counts what it leaves out."""

import sys

with open('stopwords.txt') as f:
    stop = set(f.read().split())

for line in sys.stdin:
    for word in line.split():
        if word in stop:
            sys.stderr.write('reporter:counter:Words,Stopped,1\n')
        else:
            sys.stdout.write(word + '\t1\n')
sys.stderr.write('reporter:status:done\n')
