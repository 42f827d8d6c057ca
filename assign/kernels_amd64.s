#include "textflag.h"

// The loops of kernels_generic.go, eight columns at a time (AVX2). n is a positive multiple of 8 throughout;
// the remainder is the caller's. VMINPS and VMAXPS keep their second source on equality, as `if x < y` does.

// func largestAVX2(x *float32, n int) uint32
// n is a multiple of 16.
TEXT ·largestAVX2(SB), NOSPLIT, $0-20
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), CX
	VPCMPEQD Y15, Y15, Y15
	VPSRLD $1, Y15, Y15         // all bits but the sign
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2

largestLoop:
	VPAND (SI), Y15, Y0
	VPMAXUD Y0, Y1, Y1
	VPAND 32(SI), Y15, Y3
	VPMAXUD Y3, Y2, Y2
	ADDQ $64, SI
	SUBQ $16, CX
	JNZ largestLoop
	VPMAXUD Y1, Y2, Y2
	VEXTRACTI128 $1, Y2, X1
	VPMAXUD X1, X2, X2
	VPSHUFD $0x4E, X2, X1
	VPMAXUD X1, X2, X2
	VPSHUFD $0xB1, X2, X1
	VPMAXUD X1, X2, X2
	VMOVD X2, AX
	MOVL AX, ret+16(FP)
	VZEROUPPER
	RET

// func lowerAVX2(v, c *float32, u float32, n int) uint32
TEXT ·lowerAVX2(SB), NOSPLIT, $0-36
	MOVQ v+0(FP), DI
	MOVQ c+8(FP), SI
	VBROADCASTSS u+16(FP), Y14
	MOVQ n+24(FP), CX
	VPCMPEQD Y15, Y15, Y15
	VPSRLD $1, Y15, Y15         // all bits but the sign
	VPXOR Y2, Y2, Y2            // largest |c| so far

lowerLoop:
	VMOVUPS (SI), Y0
	VSUBPS Y14, Y0, Y1
	VMINPS (DI), Y1, Y1
	VMOVUPS Y1, (DI)
	VPAND Y15, Y0, Y0
	VPMAXUD Y0, Y2, Y2
	ADDQ $32, SI
	ADDQ $32, DI
	SUBQ $8, CX
	JNZ lowerLoop
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

// func accumulateAVX2(a, c *float32, r, w float32, n int)
TEXT ·accumulateAVX2(SB), NOSPLIT, $0-32
	MOVQ a+0(FP), DI
	MOVQ c+8(FP), SI
	VBROADCASTSS r+16(FP), Y14
	VBROADCASTSS w+20(FP), Y15
	MOVQ n+24(FP), CX

accumulateLoop:
	VMOVUPS (SI), Y0
	VSUBPS Y14, Y0, Y0
	VMULPS Y15, Y0, Y0
	VADDPS (DI), Y0, Y0
	VMOVUPS Y0, (DI)
	ADDQ $32, SI
	ADDQ $32, DI
	SUBQ $8, CX
	JNZ accumulateLoop
	VZEROUPPER
	RET

// MERGE joins the pair (b1, b2) into (a1, a2): the two smallest of four. t is scratch.
#define MERGE(a1, a2, b1, b2, t) \
	VMAXPS a1, b1, t   \
	VMINPS a1, b1, a1  \
	VMINPS a2, b2, a2  \
	VMINPS t, a2, a2

// TWO offers c−v at the given offset to the pair (m1, m2).
#define TWO(offset, m1, m2, x, t) \
	VMOVUPS offset(SI), x      \
	VSUBPS offset(DI), x, x    \
	VMAXPS m1, x, t            \
	VMINPS m1, x, m1           \
	VMINPS m2, t, m2

// func min2AVX2(c, v *float32, n int) (u1, u2 float32)
TEXT ·min2AVX2(SB), NOSPLIT, $0-32
	MOVQ c+0(FP), SI
	MOVQ v+8(FP), DI
	MOVQ n+16(FP), CX
	MOVL $0x7f800000, AX
	VMOVD AX, X0
	VPBROADCASTD X0, Y0
	VMOVAPS Y0, Y1
	VMOVAPS Y0, Y2
	VMOVAPS Y0, Y3
	VMOVAPS Y0, Y4
	VMOVAPS Y0, Y5
	VMOVAPS Y0, Y6
	VMOVAPS Y0, Y7
	SUBQ $32, CX
	JL min2Rest

min2Loop:
	TWO(0, Y0, Y1, Y8, Y9)
	TWO(32, Y2, Y3, Y10, Y11)
	TWO(64, Y4, Y5, Y12, Y13)
	TWO(96, Y6, Y7, Y14, Y15)
	ADDQ $128, SI
	ADDQ $128, DI
	SUBQ $32, CX
	JGE min2Loop

min2Rest:
	ADDQ $32, CX
	JZ min2Fold

min2Eight:
	TWO(0, Y0, Y1, Y8, Y9)
	ADDQ $32, SI
	ADDQ $32, DI
	SUBQ $8, CX
	JNZ min2Eight

min2Fold:
	MERGE(Y0, Y1, Y2, Y3, Y8)
	MERGE(Y4, Y5, Y6, Y7, Y9)
	MERGE(Y0, Y1, Y4, Y5, Y8)
	VEXTRACTF128 $1, Y0, X2
	VEXTRACTF128 $1, Y1, X3
	MERGE(X0, X1, X2, X3, X8)
	VPSHUFD $0x4E, X0, X2
	VPSHUFD $0x4E, X1, X3
	MERGE(X0, X1, X2, X3, X8)
	VPSHUFD $0xB1, X0, X2
	VPSHUFD $0xB1, X1, X3
	MERGE(X0, X1, X2, X3, X8)
	VMOVSS X0, u1+24(FP)
	VMOVSS X1, u2+28(FP)
	VZEROUPPER
	RET

// BELOW compares c−v at the given offset with the threshold in Y15 (predicate 2: ≤).
#define BELOW(offset, x) \
	VMOVUPS offset(SI), x   \
	VSUBPS offset(DI), x, x \
	VCMPPS $2, Y15, x, x

// func firstAVX2(c, v *float32, t float32, n int) int
TEXT ·firstAVX2(SB), NOSPLIT, $0-40
	MOVQ c+0(FP), SI
	MOVQ v+8(FP), DI
	VBROADCASTSS t+16(FP), Y15
	MOVQ n+24(FP), CX
	XORQ BX, BX                 // columns passed
	SUBQ $32, CX
	JL firstRest

firstLoop:
	BELOW(0, Y0)
	BELOW(32, Y1)
	BELOW(64, Y2)
	BELOW(96, Y3)
	VORPS Y0, Y1, Y4
	VORPS Y2, Y3, Y5
	VORPS Y4, Y5, Y4
	VMOVMSKPS Y4, AX
	TESTL AX, AX
	JNZ firstRest               // one of these 32: the loop of 8 finds it
	ADDQ $128, SI
	ADDQ $128, DI
	ADDQ $32, BX
	SUBQ $32, CX
	JGE firstLoop

firstRest:
	ADDQ $32, CX
	JZ firstDone

firstEight:
	BELOW(0, Y0)
	VMOVMSKPS Y0, AX
	TESTL AX, AX
	JNZ firstHit
	ADDQ $32, SI
	ADDQ $32, DI
	ADDQ $8, BX
	SUBQ $8, CX
	JNZ firstEight
	JMP firstDone

firstHit:
	BSFL AX, AX
	ADDQ AX, BX

firstDone:
	MOVQ BX, ret+32(FP)
	VZEROUPPER
	RET

// RELAX offers eight columns at the given offset the path through the row: Y15 = h, Y14 = row, Y13 = least d.
#define RELAX(offset, x, was, lt, p) \
	VMOVUPS offset(SI), x       \
	VSUBPS offset(DI), x, x     \
	VSUBPS Y15, x, x            \
	VMOVUPS offset(R8), was     \
	VCMPPS $1, was, x, lt       \
	VMINPS was, x, x            \
	VMOVUPS x, offset(R8)       \
	VMOVUPS offset(R9), p       \
	VBLENDVPS lt, Y14, p, p     \
	VMOVUPS p, offset(R9)       \
	VMINPS Y13, x, Y13

// func relaxAVX2(d *float32, pred *int32, c, v *float32, h float32, row int32, n int) float32
TEXT ·relaxAVX2(SB), NOSPLIT, $0-52
	MOVQ d+0(FP), R8
	MOVQ pred+8(FP), R9
	MOVQ c+16(FP), SI
	MOVQ v+24(FP), DI
	VBROADCASTSS h+32(FP), Y15
	VBROADCASTSS row+36(FP), Y14
	MOVQ n+40(FP), CX
	MOVL $0x7f800000, AX
	VMOVD AX, X13
	VPBROADCASTD X13, Y13
	SUBQ $16, CX
	JL relaxRest

relaxLoop:
	RELAX(0, Y0, Y1, Y2, Y3)
	RELAX(32, Y4, Y5, Y6, Y7)
	ADDQ $64, SI
	ADDQ $64, DI
	ADDQ $64, R8
	ADDQ $64, R9
	SUBQ $16, CX
	JGE relaxLoop

relaxRest:
	ADDQ $16, CX
	JZ relaxDone
	RELAX(0, Y0, Y1, Y2, Y3)

relaxDone:
	VEXTRACTF128 $1, Y13, X1
	VMINPS X1, X13, X0
	VPSHUFD $0x4E, X0, X1
	VMINPS X1, X0, X0
	VPSHUFD $0xB1, X0, X1
	VMINPS X1, X0, X0
	VMOVSS X0, ret+48(FP)
	VZEROUPPER
	RET

// func minDiffAVX2(c, v *float32, n int) float64
TEXT ·minDiffAVX2(SB), NOSPLIT, $0-32
	MOVQ c+0(FP), SI
	MOVQ v+8(FP), DI
	MOVQ n+16(FP), CX
	MOVQ $0x7ff0000000000000, AX
	VMOVQ AX, X0
	VPBROADCASTQ X0, Y0
	VMOVAPD Y0, Y1

minDiffLoop:
	VCVTPS2PD (SI), Y2
	VCVTPS2PD (DI), Y3
	VCVTPS2PD 16(SI), Y4
	VCVTPS2PD 16(DI), Y5
	VSUBPD Y3, Y2, Y2
	VSUBPD Y5, Y4, Y4
	VMINPD Y0, Y2, Y0
	VMINPD Y1, Y4, Y1
	ADDQ $32, SI
	ADDQ $32, DI
	SUBQ $8, CX
	JNZ minDiffLoop
	VMINPD Y1, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VMINPD X1, X0, X0
	VPERMILPD $1, X0, X1
	VMINSD X1, X0, X0
	VMOVSD X0, ret+24(FP)
	VZEROUPPER
	RET
