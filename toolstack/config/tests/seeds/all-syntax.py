# Every kind of statement and expression once.
import os, sys, string
from os.path import basename as base
def f(a, b=2, c='x'):
    '''doc'''
    global counter
    counter = counter + 1 if a else -1
    for n, (k, v) in enumerate([(1, 2), (3, 4)]):
        while v > 0:
            v -= 1
            if v == 2: continue
            elif not n and k != 1 or v <> 3: break
            else: pass
        else:
            k **= 2
    return lambda y: y + b
counter = 0
x = f(1, c="q")(3)
d = {'a': 1, 'b': [1, 2.5, None, True][::-1][1:], 'c': (1,)}
d['a'] += 1; del d['b']
l = [i * j for i in range(3) for j in range(3) if i % 2 if j]
m = {k: v for k, v in d.items()}
try:
    try:
        raise ValueError, 'x'
    except (KeyError, IndexError), e:
        pass
    finally:
        d['f'] = 1
except ValueError as e:
    print e, repr(1) if 0 else 2
print >>sys.stderr, 'a' 'b' "c"
print('%s %03d %-5s| %x' % ('a', 7, 'l', 255), '{0:>5} {k!r}'.format(1, k='v'), f'{x:04d}{d!r}', sep='')
assert 1 < 2 <= 3 and x is not None and 'a' in d and 9 not in l, 'text'
r = r'\n' + u'x' + '\x41\101\\' + '''a
'b' "c"''' + (0x1f).real if 0 else ~1 & 0700 | 2 ^ 3 << 1 >> 1
