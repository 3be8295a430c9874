/* Preloaded into one program, it moves that program's wall clock: by the nanoseconds (int64, native order) that stand in
 * the file FAIRHOP_CLOCK_FILE (by default /run/clock/node), which is mapped, so that a jump is seen by the next call. The
 * monotonic clocks, sleeps and timers stay as they are. Without the file nothing moves.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define BILLION 1000000000LL

static const volatile int64_t *offset;

__attribute__((constructor)) static void find_offset(void)
{
	const char *named = getenv("FAIRHOP_CLOCK_FILE"), *path = named ? named : "/run/clock/node";
	int file = open(path, O_RDONLY | O_CLOEXEC);

	if (file < 0)
		return;
	void *mapped = mmap(0, sizeof(*offset), PROT_READ, MAP_SHARED, file, 0);
	if (mapped != MAP_FAILED)
		offset = mapped;
	close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int failed = (int)syscall(SYS_clock_gettime, clock, now);

	if (failed || !offset || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
		return failed;
	int64_t sum = now->tv_sec * BILLION + now->tv_nsec + *offset;
	now->tv_sec = sum / BILLION;
	now->tv_nsec = sum % BILLION;
	return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec exact;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &exact);
	now->tv_sec = exact.tv_sec;
	now->tv_usec = exact.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *to)
{
	struct timespec exact;

	clock_gettime(CLOCK_REALTIME, &exact);
	if (to)
		*to = exact.tv_sec;
	return exact.tv_sec;
}
