/* What the pretended CUDA libraries share: counting, by name, what a program asks of the device. */
#ifndef PRETENDED_H
#define PRETENDED_H

#define API __attribute__((visibility("default")))

enum { SUCCESS = 0, OUT_OF_MEMORY = 2, NO_SUCH_DEVICE = 101, NOT_WHILE_CAPTURING = 900 };

API void pretended_count(const char *name, long bytes); /* one more call of `name`, which moved or took `bytes` */

#define COUNTED() pretended_count(__func__, 0)

#endif
