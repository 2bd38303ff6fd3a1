#include "textflag.h"

// What moves 16 bytes on by so many bits: the remainders of x^(bits+63), for the eight that
// come first, and of x^(bits-1), with the bits in the order of the checksum's. One less than
// the distance, because a product of two such numbers is one too far.
DATA ·by2048+0(SB)/8, $0xe9a5d8be00000000
DATA ·by2048+8(SB)/8, $0x1426a81500000000
GLOBL ·by2048(SB), RODATA|NOPTR, $16
DATA ·by512+0(SB)/8, $0x1c19243b00000000
DATA ·by512+8(SB)/8, $0x75bba45b00000000
GLOBL ·by512(SB), RODATA|NOPTR, $16
DATA ·by128+0(SB)/8, $0x3743f7bd00000000
DATA ·by128+8(SB)/8, $0x3171d43000000000
GLOBL ·by128(SB), RODATA|NOPTR, $16

// FOLD moves the four times 16 bytes of acc on, and adds what lies there.
#define FOLD(acc, k, there) \
	VPCLMULQDQ $0x00, k, acc, Z8        \
	VPCLMULQDQ $0x11, k, acc, acc       \
	VPTERNLOGQ $0x96, there, Z8, acc

// FOLD1 does so with 16 bytes.
#define FOLD1(acc, k, there) \
	VPCLMULQDQ $0x00, k, acc, X8        \
	VPCLMULQDQ $0x11, k, acc, acc       \
	VPXOR      X8, acc, acc             \
	VPXOR      there, acc, acc

// func fold(left *[16]byte, init uint32, p *byte, blocks int)
TEXT ·fold(SB), NOSPLIT, $0-32
	MOVQ left+0(FP), DI
	MOVL init+8(FP), AX
	MOVQ p+16(FP), SI
	MOVQ blocks+24(FP), CX

	VMOVDQU64 0(SI), Z0
	VMOVDQU64 64(SI), Z1
	VMOVDQU64 128(SI), Z2
	VMOVDQU64 192(SI), Z3
	VMOVQ     AX, X4
	VPXORQ    Z4, Z0, Z0

	VBROADCASTI32X4 ·by2048(SB), Z5
	JMP             next

loop:
	FOLD(Z0, Z5, 0(SI))
	FOLD(Z1, Z5, 64(SI))
	FOLD(Z2, Z5, 128(SI))
	FOLD(Z3, Z5, 192(SI))

next:
	ADDQ $256, SI
	DECQ CX
	JNZ  loop

	VBROADCASTI32X4 ·by512(SB), Z5
	FOLD(Z0, Z5, Z1)
	FOLD(Z0, Z5, Z2)
	FOLD(Z0, Z5, Z3)

	VMOVDQU       ·by128(SB), X5
	VEXTRACTI32X4 $1, Z0, X1
	VEXTRACTI32X4 $2, Z0, X2
	VEXTRACTI32X4 $3, Z0, X3
	FOLD1(X0, X5, X1)
	FOLD1(X0, X5, X2)
	FOLD1(X0, X5, X3)
	VMOVDQU       X0, (DI)
	VZEROUPPER
	RET
