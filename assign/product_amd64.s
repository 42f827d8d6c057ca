#include "textflag.h"

// tileGeneric of product.go. Products are rounded before they are added: VMULPS and VADDPS, never a fused one.

// Where the four sums of a row stand after ROW.
DATA quarters<>+0(SB)/4, $0
DATA quarters<>+4(SB)/4, $4
DATA quarters<>+8(SB)/4, $8
DATA quarters<>+12(SB)/4, $12
DATA quarters<>+16(SB)/4, $0
DATA quarters<>+20(SB)/4, $0
DATA quarters<>+24(SB)/4, $0
DATA quarters<>+28(SB)/4, $0
DATA quarters<>+32(SB)/4, $0
DATA quarters<>+36(SB)/4, $0
DATA quarters<>+40(SB)/4, $0
DATA quarters<>+44(SB)/4, $0
DATA quarters<>+48(SB)/4, $0
DATA quarters<>+52(SB)/4, $0
DATA quarters<>+56(SB)/4, $0
DATA quarters<>+60(SB)/4, $0
GLOBL quarters<>(SB), RODATA|NOPTR, $64

// SIX adds the products of one noise with six rows.
#define SIX(a0, a1, a2, a3, a4, a5) \
	VMULPS Z30, Z24, Z31 \
	VADDPS Z31, a0, a0   \
	VMULPS Z30, Z25, Z31 \
	VADDPS Z31, a1, a1   \
	VMULPS Z30, Z26, Z31 \
	VADDPS Z31, a2, a2   \
	VMULPS Z30, Z27, Z31 \
	VADDPS Z31, a3, a3   \
	VMULPS Z30, Z28, Z31 \
	VADDPS Z31, a4, a4   \
	VMULPS Z30, Z29, Z31 \
	VADDPS Z31, a5, a5

// ROW adds the sums of a row's four noises to out at BX, and moves BX to the next row.
#define ROW(a, b, c, d) \
	VSHUFF64X2 $0x44, b, a, Z24   \
	VSHUFF64X2 $0xEE, b, a, Z25   \
	VADDPS Z24, Z25, Z24          \
	VSHUFF64X2 $0x44, d, c, Z26   \
	VSHUFF64X2 $0xEE, d, c, Z27   \
	VADDPS Z26, Z27, Z26          \
	VSHUFF64X2 $0x88, Z26, Z24, Z25 \
	VSHUFF64X2 $0xDD, Z26, Z24, Z27 \
	VADDPS Z25, Z27, Z25          \
	VPERMILPD $0x55, Z25, Z27     \
	VADDPS Z25, Z27, Z25          \
	VMOVSHDUP Z25, Z27            \
	VADDPS Z25, Z27, Z25          \
	VPERMPS Z25, Z31, Z25         \
	VADDPS (BX), X25, X25         \
	VMOVUPS X25, (BX)             \
	ADDQ DX, BX

// func tileAVX512(x *float32, xs int, noise *float32, width int, out *float32, stride int)
TEXT ·tileAVX512(SB), NOSPLIT, $0-48
	MOVQ x+0(FP), SI
	MOVQ xs+8(FP), R8
	MOVQ noise+16(FP), DI
	MOVQ width+24(FP), CX
	MOVQ out+32(FP), BX
	MOVQ stride+40(FP), DX
	SHLQ $2, R8
	SHLQ $2, DX
	MOVQ CX, R10
	SHLQ $2, R10                // bytes from noise to noise
	LEAQ (R8)(R8*2), R9         // 3 rows
	LEAQ (R8)(R8*4), R12        // 5 rows
	LEAQ (R10)(R10*2), R11      // 3 noises
	VPXORD Z0, Z0, Z0
	VMOVAPS Z0, Z1
	VMOVAPS Z0, Z2
	VMOVAPS Z0, Z3
	VMOVAPS Z0, Z4
	VMOVAPS Z0, Z5
	VMOVAPS Z0, Z6
	VMOVAPS Z0, Z7
	VMOVAPS Z0, Z8
	VMOVAPS Z0, Z9
	VMOVAPS Z0, Z10
	VMOVAPS Z0, Z11
	VMOVAPS Z0, Z12
	VMOVAPS Z0, Z13
	VMOVAPS Z0, Z14
	VMOVAPS Z0, Z15
	VMOVAPS Z0, Z16
	VMOVAPS Z0, Z17
	VMOVAPS Z0, Z18
	VMOVAPS Z0, Z19
	VMOVAPS Z0, Z20
	VMOVAPS Z0, Z21
	VMOVAPS Z0, Z22
	VMOVAPS Z0, Z23

loop512:
	VMOVUPS (SI), Z24
	VMOVUPS (SI)(R8*1), Z25
	VMOVUPS (SI)(R8*2), Z26
	VMOVUPS (SI)(R9*1), Z27
	VMOVUPS (SI)(R8*4), Z28
	VMOVUPS (SI)(R12*1), Z29
	VMOVUPS (DI), Z30
	SIX(Z0, Z4, Z8, Z12, Z16, Z20)
	VMOVUPS (DI)(R10*1), Z30
	SIX(Z1, Z5, Z9, Z13, Z17, Z21)
	VMOVUPS (DI)(R10*2), Z30
	SIX(Z2, Z6, Z10, Z14, Z18, Z22)
	VMOVUPS (DI)(R11*1), Z30
	SIX(Z3, Z7, Z11, Z15, Z19, Z23)
	ADDQ $64, SI
	ADDQ $64, DI
	SUBQ $16, CX
	JNZ loop512

	VMOVUPS quarters<>(SB), Z31
	ROW(Z0, Z1, Z2, Z3)
	ROW(Z4, Z5, Z6, Z7)
	ROW(Z8, Z9, Z10, Z11)
	ROW(Z12, Z13, Z14, Z15)
	ROW(Z16, Z17, Z18, Z19)
	ROW(Z20, Z21, Z22, Z23)
	VZEROUPPER
	RET

// THREE adds the products of the noise in Y15 with three rows.
#define THREE(a0, a1, a2) \
	VMULPS Y15, Y12, Y14 \
	VADDPS Y14, a0, a0   \
	VMULPS Y15, Y13, Y14 \
	VADDPS Y14, a1, a1   \
	VMULPS (AX), Y15, Y14 \
	VADDPS Y14, a2, a2

// ONE adds the sum of partial sums 0…7 (a, of which x is the lower half) and 8…15 (b) to out at the given offset.
#define ONE(a, x, b, at) \
	VADDPS b, a, a            \
	VEXTRACTF128 $1, a, X15   \
	VADDPS X15, x, x          \
	VPERMILPD $1, x, X15      \
	VADDPS X15, x, x          \
	VMOVSHDUP x, X15          \
	VADDSS X15, x, x          \
	VADDSS at(BX), x, x       \
	VMOVSS x, at(BX)

// func subtileAVX2(x *float32, xs int, noise *float32, width int, out *float32, stride int)
// is a quarter of a tile: 3 rows and 2 noises.
TEXT ·subtileAVX2(SB), NOSPLIT, $0-48
	MOVQ x+0(FP), SI
	MOVQ xs+8(FP), R8
	MOVQ noise+16(FP), DI
	MOVQ width+24(FP), CX
	MOVQ out+32(FP), BX
	MOVQ stride+40(FP), DX
	SHLQ $2, R8
	SHLQ $2, DX
	MOVQ CX, R10
	SHLQ $2, R10
	LEAQ (SI)(R8*2), AX         // the third row, which is read from memory
	VXORPS Y0, Y0, Y0
	VMOVAPS Y0, Y1
	VMOVAPS Y0, Y2
	VMOVAPS Y0, Y3
	VMOVAPS Y0, Y4
	VMOVAPS Y0, Y5
	VMOVAPS Y0, Y6
	VMOVAPS Y0, Y7
	VMOVAPS Y0, Y8
	VMOVAPS Y0, Y9
	VMOVAPS Y0, Y10
	VMOVAPS Y0, Y11

loopAVX2:
	VMOVUPS (SI), Y12
	VMOVUPS (SI)(R8*1), Y13
	VMOVUPS (DI), Y15
	THREE(Y0, Y4, Y8)
	VMOVUPS (DI)(R10*1), Y15
	THREE(Y2, Y6, Y10)
	ADDQ $32, AX
	VMOVUPS 32(SI), Y12
	VMOVUPS 32(SI)(R8*1), Y13
	VMOVUPS 32(DI), Y15
	THREE(Y1, Y5, Y9)
	VMOVUPS 32(DI)(R10*1), Y15
	THREE(Y3, Y7, Y11)
	ADDQ $32, AX
	ADDQ $64, SI
	ADDQ $64, DI
	SUBQ $16, CX
	JNZ loopAVX2

	ONE(Y0, X0, Y1, 0)
	ONE(Y2, X2, Y3, 4)
	ADDQ DX, BX
	ONE(Y4, X4, Y5, 0)
	ONE(Y6, X6, Y7, 4)
	ADDQ DX, BX
	ONE(Y8, X8, Y9, 0)
	ONE(Y10, X10, Y11, 4)
	VZEROUPPER
	RET
