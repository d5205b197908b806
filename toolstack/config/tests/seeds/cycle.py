x = []
x.append(x)
y = str(x)
