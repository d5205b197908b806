x = 'a'
while 1: x = x.replace('a', 'aa')
