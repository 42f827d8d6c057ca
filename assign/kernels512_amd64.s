#include "textflag.h"

// The loops that take most of a solve, sixteen columns at a time (AVX-512). n is any positive number: what a mask leaves
// out counts as +Inf. As in kernels_amd64.s, VMINPS and VMAXPS keep their second source on equality.

// TAIL sets K1 to the first CX mod 16 lanes, and jumps if there are none.
#define TAIL(none) \
	ANDQ $15, CX       \
	JZ none            \
	MOVL $1, AX        \
	SHLL CX, AX        \
	DECL AX            \
	KMOVW AX, K1

// PAIR offers c−v at the given offset to the pair (m1, m2).
#define PAIR(offset, m1, m2, x, t) \
	VMOVUPS offset(SI), x      \
	VSUBPS offset(DI), x, x    \
	VMAXPS m1, x, t            \
	VMINPS m1, x, m1           \
	VMINPS m2, t, m2

// JOIN joins the pair (b1, b2) into (a1, a2): the two smallest of four. t is scratch.
#define JOIN(a1, a2, b1, b2, t) \
	VMAXPS a1, b1, t   \
	VMINPS a1, b1, a1  \
	VMINPS a2, b2, a2  \
	VMINPS t, a2, a2

// func argmin2AVX512(c, v *float32, n int) (j1, j2 int, u1, u2 float32)
TEXT ·argmin2AVX512(SB), NOSPLIT, $0-48
	MOVQ c+0(FP), SI
	MOVQ v+8(FP), DI
	MOVQ n+16(FP), CX
	MOVQ SI, R8
	MOVQ DI, R9
	MOVQ CX, R10
	MOVL $0x7f800000, AX
	VPBROADCASTD AX, Z0
	VMOVAPS Z0, Z1
	VMOVAPS Z0, Z2
	VMOVAPS Z0, Z3
	VMOVAPS Z0, Z4
	VMOVAPS Z0, Z5
	VMOVAPS Z0, Z6
	VMOVAPS Z0, Z7
	VMOVAPS Z0, Z16
	SUBQ $64, CX
	JL pairsRest

pairsLoop:
	PAIR(0, Z0, Z1, Z8, Z9)
	PAIR(64, Z2, Z3, Z10, Z11)
	PAIR(128, Z4, Z5, Z12, Z13)
	PAIR(192, Z6, Z7, Z14, Z15)
	ADDQ $256, SI
	ADDQ $256, DI
	SUBQ $64, CX
	JGE pairsLoop
	JOIN(Z0, Z1, Z2, Z3, Z8)
	JOIN(Z4, Z5, Z6, Z7, Z9)
	JOIN(Z0, Z1, Z4, Z5, Z8)

pairsRest:
	ADDQ $48, CX
	JL pairsTail

pairsSixteen:
	PAIR(0, Z0, Z1, Z8, Z9)
	ADDQ $64, SI
	ADDQ $64, DI
	SUBQ $16, CX
	JGE pairsSixteen

pairsTail:
	TAIL(pairsFold)
	VMOVUPS.Z (SI), K1, Z8
	VSUBPS (DI), Z8, K1, Z16
	VMAXPS Z0, Z16, Z9
	VMINPS Z0, Z16, Z0
	VMINPS Z1, Z9, Z1

pairsFold:
	VEXTRACTF64X4 $1, Z0, Y2
	VEXTRACTF64X4 $1, Z1, Y3
	JOIN(Y0, Y1, Y2, Y3, Y8)
	VEXTRACTF128 $1, Y0, X2
	VEXTRACTF128 $1, Y1, X3
	JOIN(X0, X1, X2, X3, X8)
	VPSHUFD $0x4E, X0, X2
	VPSHUFD $0x4E, X1, X3
	JOIN(X0, X1, X2, X3, X8)
	VPSHUFD $0xB1, X0, X2
	VPSHUFD $0xB1, X1, X3
	JOIN(X0, X1, X2, X3, X8)
	VMOVSS X0, u1+40(FP)
	VMOVSS X1, u2+44(FP)
	VBROADCASTSS X0, Z0
	VBROADCASTSS X1, Z1

	// Where they are: the lowest column that attains the first, and the lowest other one that attains the second.
	MOVQ $-1, BX                // j1
	MOVQ $-1, DX                // j2
	XORQ R11, R11               // columns passed
	MOVQ R10, CX
	SUBQ $16, CX
	JL whereTail

whereLoop:
	VMOVUPS (R8)(R11*4), Z2
	VSUBPS (R9)(R11*4), Z2, Z2
	VCMPPS $2, Z1, Z2, K2
	KMOVW K2, AX
	TESTL AX, AX
	JNZ whereHit

whereNext:
	ADDQ $16, R11
	SUBQ $16, CX
	JGE whereLoop

whereTail:
	CMPQ R11, R10
	JGE whereDone
	TAIL(whereDone)
	VMOVUPS.Z (R8)(R11*4), K1, Z2
	VSUBPS.Z (R9)(R11*4), Z2, K1, Z2
	VCMPPS $2, Z1, Z2, K1, K2
	KMOVW K2, AX
	XORL CX, CX                 // nothing is left after this
	TESTL AX, AX
	JZ whereDone

whereHit:
	VCMPPS $2, Z0, Z2, K2, K3
	KMOVW K3, R12
	TESTQ BX, BX
	JGE whereSecond
	TESTL R12, R12
	JZ whereSecond
	BSFL R12, R13
	BTRL R13, AX
	LEAQ (R11)(R13*1), BX

whereSecond:
	TESTQ DX, DX
	JGE whereBoth
	TESTL AX, AX
	JZ whereBoth
	BSFL AX, R13
	LEAQ (R11)(R13*1), DX

whereBoth:
	MOVQ BX, AX
	ORQ DX, AX
	JL whereNext                // one of them is still −1

whereDone:
	MOVQ BX, j1+24(FP)
	MOVQ DX, j2+32(FP)
	VZEROUPPER
	RET

// RELAX offers sixteen columns at the given offset the path through the row: Z15 = h, Z14 = row.
#define RELAX(offset, x, was, least) \
	VMOVUPS offset(SI), x       \
	VSUBPS offset(DI), x, x     \
	VSUBPS Z15, x, x            \
	VMOVUPS offset(R8), was     \
	VCMPPS $1, was, x, K2       \
	VMINPS was, x, x            \
	VMOVUPS x, offset(R8)       \
	VMOVDQU32 Z14, K2, offset(R9) \
	VMINPS least, x, least

// func relaxAVX512(d *float32, pred *int32, c, v *float32, h float32, row int32, n int) float32
TEXT ·relaxAVX512(SB), NOSPLIT, $0-52
	MOVQ d+0(FP), R8
	MOVQ pred+8(FP), R9
	MOVQ c+16(FP), SI
	MOVQ v+24(FP), DI
	VBROADCASTSS h+32(FP), Z15
	VBROADCASTSS row+36(FP), Z14
	MOVQ n+40(FP), CX
	MOVL $0x7f800000, AX
	VPBROADCASTD AX, Z13
	VMOVAPS Z13, Z12
	SUBQ $32, CX
	JL relaxRest

relaxLoop:
	RELAX(0, Z0, Z1, Z13)
	RELAX(64, Z2, Z3, Z12)
	ADDQ $128, SI
	ADDQ $128, DI
	ADDQ $128, R8
	ADDQ $128, R9
	SUBQ $32, CX
	JGE relaxLoop

relaxRest:
	VMINPS Z12, Z13, Z13
	ADDQ $16, CX
	JL relaxTail
	RELAX(0, Z0, Z1, Z13)
	ADDQ $64, SI
	ADDQ $64, DI
	ADDQ $64, R8
	ADDQ $64, R9

relaxTail:
	TAIL(relaxFold)
	VMOVUPS.Z (SI), K1, Z0
	VSUBPS.Z (DI), Z0, K1, Z0
	VSUBPS Z15, Z0, Z0
	VMOVUPS.Z (R8), K1, Z1
	VCMPPS $1, Z1, Z0, K1, K2
	VMINPS Z1, Z0, Z0
	VMOVUPS Z0, K1, (R8)
	VMOVDQU32 Z14, K2, (R9)
	VMINPS Z13, Z0, K1, Z13

relaxFold:
	VEXTRACTF64X4 $1, Z13, Y1
	VMINPS Y1, Y13, Y0
	VEXTRACTF128 $1, Y0, X1
	VMINPS X1, X0, X0
	VPSHUFD $0x4E, X0, X1
	VMINPS X1, X0, X0
	VPSHUFD $0xB1, X0, X1
	VMINPS X1, X0, X0
	VMOVSS X0, ret+48(FP)
	VZEROUPPER
	RET


// SIXTEEN takes c−offset at the given offset into the least so far.
#define SIXTEEN(at, x, least) \
	VMOVUPS at(SI), x      \
	VSUBPS at(R8), x, x    \
	VMINPS x, least, least

// func lowerRowAVX512(v, c, offset *float32, n int) uint32
TEXT ·lowerRowAVX512(SB), NOSPLIT, $0-36
	MOVQ c+8(FP), SI
	MOVQ offset+16(FP), R8
	MOVQ n+24(FP), CX
	MOVL $0x7f800000, AX
	VPBROADCASTD AX, Z13
	VMOVAPS Z13, Z12
	VMOVAPS Z13, Z2
	SUBQ $32, CX
	JL leastRest

leastLoop:
	SIXTEEN(0, Z0, Z13)
	SIXTEEN(64, Z1, Z12)
	ADDQ $128, SI
	ADDQ $128, R8
	SUBQ $32, CX
	JGE leastLoop

leastRest:
	ADDQ $16, CX
	JL leastTail
	SIXTEEN(0, Z0, Z13)
	ADDQ $64, SI
	ADDQ $64, R8

leastTail:
	TAIL(leastFold)
	VMOVUPS.Z (SI), K1, Z0
	VSUBPS (R8), Z0, K1, Z2
	VMINPS Z2, Z13, Z13

leastFold:
	VMINPS Z12, Z13, Z13
	VEXTRACTF64X4 $1, Z13, Y1
	VMINPS Y1, Y13, Y0
	VEXTRACTF128 $1, Y0, X1
	VMINPS X1, X0, X0
	VPSHUFD $0x4E, X0, X1
	VMINPS X1, X0, X0
	VPSHUFD $0xB1, X0, X1
	VMINPS X1, X0, X0
	VBROADCASTSS X0, Z14

	MOVQ v+0(FP), DI
	MOVQ c+8(FP), SI
	MOVQ n+24(FP), CX
	MOVL $0x7fffffff, AX
	VPBROADCASTD AX, Z15        // all bits but the sign
	VPXORD Z2, Z2, Z2           // largest |c| so far
	SUBQ $16, CX
	JL lowerTail512

lowerLoop512:
	VMOVUPS (SI), Z0
	VSUBPS Z14, Z0, Z1
	VMINPS (DI), Z1, Z1
	VMOVUPS Z1, (DI)
	VPANDD Z15, Z0, Z0
	VPMAXUD Z0, Z2, Z2
	ADDQ $64, SI
	ADDQ $64, DI
	SUBQ $16, CX
	JGE lowerLoop512

lowerTail512:
	TAIL(lowerFold512)
	VMOVUPS.Z (SI), K1, Z0
	VSUBPS Z14, Z0, Z1
	VMOVUPS.Z (DI), K1, Z3
	VMINPS Z3, Z1, Z1
	VMOVUPS Z1, K1, (DI)
	VPANDD Z15, Z0, Z0
	VPMAXUD Z0, Z2, Z2

lowerFold512:
	VEXTRACTI64X4 $1, Z2, Y1
	VPMAXUD Y1, Y2, Y2
	VEXTRACTI128 $1, Y2, X1
	VPMAXUD X1, X2, X2
	VPSHUFD $0x4E, X2, X1
	VPMAXUD X1, X2, X2
	VPSHUFD $0xB1, X2, X1
	VPMAXUD X1, X2, X2
	VMOVD X2, AX
	MOVL AX, ret+32(FP)
	VZEROUPPER
	RET

// func accumulateAVX512(a, c *float32, r, w float32, n int)
TEXT ·accumulateAVX512(SB), NOSPLIT, $0-32
	MOVQ a+0(FP), DI
	MOVQ c+8(FP), SI
	VBROADCASTSS r+16(FP), Z14
	VBROADCASTSS w+20(FP), Z15
	MOVQ n+24(FP), CX
	SUBQ $16, CX
	JL accumulateTail

accumulateLoop512:
	VMOVUPS (SI), Z0
	VSUBPS Z14, Z0, Z0
	VMULPS Z15, Z0, Z0
	VADDPS (DI), Z0, Z0
	VMOVUPS Z0, (DI)
	ADDQ $64, SI
	ADDQ $64, DI
	SUBQ $16, CX
	JGE accumulateLoop512

accumulateTail:
	TAIL(accumulateDone)
	VMOVUPS.Z (SI), K1, Z0
	VSUBPS Z14, Z0, Z0
	VMULPS Z15, Z0, Z0
	VMOVUPS.Z (DI), K1, Z1
	VADDPS Z1, Z0, Z0
	VMOVUPS Z0, K1, (DI)

accumulateDone:
	VZEROUPPER
	RET
