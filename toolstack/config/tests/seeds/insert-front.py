a = b = [0] * 100000
for i in range(1000000): a.insert(0, 1)
