/* Takes the headers off the rows of COPY ... TO STDOUT. What for, and how it is built: README.md in this folder. */
#include <stddef.h>
#include <stdint.h>

/* Of the C library that is in the process already: nothing is linked. */
void *memmove(void *to, const void *from, size_t count);

/* A message: its type, the length of all that follows the type (big-endian), the body. A row is a message "d". */
enum { HEADER_BYTES = 5, LENGTH_BYTES = 4 };

/* Python has the same structure: coffre/postgres/copy_rows.py. */
struct progress {
    uint64_t taken; /* bytes of `from` that are done with */
    uint64_t given; /* bytes written to `to` */
    uint64_t ended; /* rows whose last byte, a line feed, was written */
    uint64_t left;  /* what is still to come of the row under way: kept from call to call, 0 at first */
};

static uint32_t length_of(const unsigned char *header)
{
    return (uint32_t)header[1] << 24 | (uint32_t)header[2] << 16 | (uint32_t)header[3] << 8 | header[4];
}

static uint64_t least(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t smaller = a < b ? a : b;
    return smaller < c ? smaller : c;
}

/*
 * Copies rows from `from` to `to` until one of them is used up, or something else than a whole header of a row follows.
 * Lengths are the server's and prove nothing: no more is read than `length`, no more written than `room`.
 */
void coffre_take_rows(const unsigned char *from, uint64_t length, unsigned char *to, uint64_t room,
                      struct progress *progress)
{
    uint64_t taken = 0, given = 0, ended = 0, left = progress->left;

    for (;;) {
        if (left == 0) {
            const unsigned char *header = from + taken;
            if (length - taken < HEADER_BYTES || header[0] != 'd' || length_of(header) < LENGTH_BYTES)
                break;
            left = length_of(header) - LENGTH_BYTES;
            taken += HEADER_BYTES;
        }
        uint64_t count = least(left, length - taken, room - given);
        memmove(to + given, from + taken, count);
        taken += count;
        given += count;
        left -= count;
        if (left > 0)
            break;
        if (count > 0 && to[given - 1] == '\n')
            ended++;
    }
    *progress = (struct progress){taken, given, ended, left};
}
