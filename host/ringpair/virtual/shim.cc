// The few symbols the compiled board needs from a C++ runtime, so that none has to be built or found.
#include <cstddef>
#include <cstdlib>
#if __has_include(<__verbose_abort>) // libc++
#include <__verbose_abort>
#ifndef _LIBCPP_VERBOSE_ABORT_NOEXCEPT
#define _LIBCPP_VERBOSE_ABORT_NOEXCEPT noexcept
#endif
#endif

void *operator new(size_t size)
{
    void *memory = malloc(size ? size : 1);
    if (!memory)
        abort();
    return memory;
}
void *operator new[](size_t size) { return operator new(size); }
void operator delete(void *memory) noexcept { free(memory); }
void operator delete[](void *memory) noexcept { free(memory); }
void operator delete(void *memory, size_t) noexcept { free(memory); }
void operator delete[](void *memory, size_t) noexcept { free(memory); }

extern "C" void __cxa_pure_virtual() { abort(); }

#ifdef _LIBCPP_VERSION
_LIBCPP_BEGIN_NAMESPACE_STD
[[noreturn]] void __libcpp_verbose_abort(char const *, ...) _LIBCPP_VERBOSE_ABORT_NOEXCEPT { abort(); }
_LIBCPP_END_NAMESPACE_STD
#endif
