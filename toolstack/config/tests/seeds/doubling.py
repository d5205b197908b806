x = [1]
for i in range(64):
    x = [x, x]
y = x == x
