try:
  while 1: pass
except:
  pass
