package dataflow

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is a large page of the processors that most have.
const hugePage = 2 << 20

// hugePages asks for large pages under a slice that will be read here and there: else
// the processor looks up where a page is more often than what is in it. It is a request,
// which the kernel may leave as it is.
func hugePages[E any](s []E) {
	size := uintptr(len(s)) * unsafe.Sizeof(*new(E))
	b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), size)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % hugePage
	if skip+hugePage > size {
		return
	}
	_ = unix.Madvise(b[skip:skip+(size-skip)/hugePage*hugePage], unix.MADV_HUGEPAGE)
}
