/* The counters: calls and bytes by name, in a table that is searched by the name's hash. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pretended.h"

enum { PLACES = 1 << 14 };

static struct {
  char *name;
  long calls, bytes;
} counters[PLACES];
static pthread_mutex_t counting = PTHREAD_MUTEX_INITIALIZER;

static unsigned place_of(const char *name) {
  unsigned hash = 2166136261u;
  for (const char *c = name; *c; c++) hash = (hash ^ (unsigned char)*c) * 16777619u;
  unsigned at = hash % PLACES;
  while (counters[at].name && strcmp(counters[at].name, name)) at = (at + 1) % PLACES;
  return at;
}

API void pretended_count(const char *name, long bytes) {
  pthread_mutex_lock(&counting);
  unsigned at = place_of(name);
  if (!counters[at].name) counters[at].name = strdup(name);
  counters[at].calls++;
  counters[at].bytes += bytes;
  pthread_mutex_unlock(&counting);
}

API void pretended_clear(void) {
  pthread_mutex_lock(&counting);
  for (int i = 0; i < PLACES; i++) counters[i].calls = counters[i].bytes = 0;
  pthread_mutex_unlock(&counting);
}

/* One line per name that was counted since the table was cleared: name, calls, bytes, apart by tabs. */
API int pretended_write(const char *path) {
  FILE *file = fopen(path, "w");
  if (!file) return 1;
  pthread_mutex_lock(&counting);
  for (int i = 0; i < PLACES; i++)
    if (counters[i].calls) fprintf(file, "%s\t%ld\t%ld\n", counters[i].name, counters[i].calls, counters[i].bytes);
  pthread_mutex_unlock(&counting);
  return fclose(file);
}
