/* The linker sends all calls of hypot and hypotf here (--wrap), and these go to the versions that every
 * glibc for x86_64 has. Without this the program would need glibc 2.35, where the machine that builds it
 * has that; Amazon Linux 2023 has 2.34. */

__asm__(".symver hypot_of_every_glibc, hypot@GLIBC_2.2.5");
__asm__(".symver hypotf_of_every_glibc, hypotf@GLIBC_2.2.5");

extern double hypot_of_every_glibc(double, double);
extern float hypotf_of_every_glibc(float, float);

double __wrap_hypot(double x, double y) { return hypot_of_every_glibc(x, y); }

float __wrap_hypotf(float x, float y) { return hypotf_of_every_glibc(x, y); }
