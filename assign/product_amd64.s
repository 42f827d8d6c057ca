#include "textflag.h"

// tileGeneric of product.go: every product is added by VFMADD231PS, coordinate by coordinate.

// PAIR adds the products of a row's number, at the given offset from SI, with the coordinate of 32 noises in Z24 and Z25.
#define PAIR(at, t, a, b) \
	VBROADCASTSS at(SI), t  \
	VFMADD231PS Z24, t, a \
	VFMADD231PS Z25, t, b

// COORDINATE is one step of all 12 rows; rows are 2048 bytes (depth numbers) apart.
#define COORDINATE(at, noise) \
	VMOVUPS noise(DI), Z24    \
	VMOVUPS (noise+64)(DI), Z25 \
	PREFETCHT0 (noise+1024)(DI) \
	PREFETCHT0 (noise+1088)(DI) \
	PAIR((at+0), Z26, Z0, Z1) \
	PAIR((at+2048), Z27, Z2, Z3) \
	PAIR((at+4096), Z28, Z4, Z5) \
	PAIR((at+6144), Z29, Z6, Z7) \
	PAIR((at+8192), Z30, Z8, Z9) \
	PAIR((at+10240), Z31, Z10, Z11) \
	PAIR((at+12288), Z26, Z12, Z13) \
	PAIR((at+14336), Z27, Z14, Z15) \
	PAIR((at+16384), Z28, Z16, Z17) \
	PAIR((at+18432), Z29, Z18, Z19) \
	PAIR((at+20480), Z30, Z20, Z21) \
	PAIR((at+22528), Z31, Z22, Z23)

// BEGIN clears the sums of a row and calls for its lines of out at AX, and moves AX to the next row.
#define BEGIN(a, b) \
	VPXORD a, a, a    \
	VPXORD b, b, b    \
	PREFETCHT0 (AX)   \
	PREFETCHT0 64(AX) \
	ADDQ DX, AX

// ROW adds the sums of a row to out at BX, and moves BX to the next row.
#define ROW(a, b) \
	VADDPS (BX), a, a   \
	VADDPS 64(BX), b, b \
	VMOVUPS a, (BX)     \
	VMOVUPS b, 64(BX)   \
	ADDQ DX, BX

// func tileAVX512(images, noise *float32, n int, out *float32, stride int, next *float32)
// also calls for n numbers at next.
TEXT ·tileAVX512(SB), NOSPLIT, $0-48
	MOVQ images+0(FP), SI
	MOVQ noise+8(FP), DI
	MOVQ n+16(FP), CX
	MOVQ out+24(FP), BX
	MOVQ stride+32(FP), DX
	MOVQ next+40(FP), R9
	SHLQ $2, DX
	MOVQ BX, AX
	BEGIN(Z0, Z1)
	BEGIN(Z2, Z3)
	BEGIN(Z4, Z5)
	BEGIN(Z6, Z7)
	BEGIN(Z8, Z9)
	BEGIN(Z10, Z11)
	BEGIN(Z12, Z13)
	BEGIN(Z14, Z15)
	BEGIN(Z16, Z17)
	BEGIN(Z18, Z19)
	BEGIN(Z20, Z21)
	BEGIN(Z22, Z23)
	SUBQ $2, CX
	JL rest512

loop512:
	PREFETCHT1 (R9)
	COORDINATE(0, 0)
	COORDINATE(4, 128)
	ADDQ $8, R9
	ADDQ $8, SI
	ADDQ $256, DI
	SUBQ $2, CX
	JGE loop512

rest512:
	ADDQ $2, CX
	JZ add512
	COORDINATE(0, 0)

add512:
	ROW(Z0, Z1)
	ROW(Z2, Z3)
	ROW(Z4, Z5)
	ROW(Z6, Z7)
	ROW(Z8, Z9)
	ROW(Z10, Z11)
	ROW(Z12, Z13)
	ROW(Z14, Z15)
	ROW(Z16, Z17)
	ROW(Z18, Z19)
	ROW(Z20, Z21)
	ROW(Z22, Z23)
	VZEROUPPER
	RET

// HALF adds the products of a row's number with the coordinate of 16 noises in Y12 and Y13.
#define HALF(at, t, a, b) \
	VBROADCASTSS at(SI), t \
	VFMADD231PS Y12, t, a \
	VFMADD231PS Y13, t, b

// ROWHALF is ROW of 16 noises.
#define ROWHALF(a, b) \
	VADDPS (BX), a, a   \
	VADDPS 32(BX), b, b \
	VMOVUPS a, (BX)     \
	VMOVUPS b, 32(BX)   \
	ADDQ DX, BX

// func subtileAVX2(images, noise *float32, n int, out *float32, stride int)
// is a quarter of a tile: 6 rows and 16 noises.
TEXT ·subtileAVX2(SB), NOSPLIT, $0-40
	MOVQ images+0(FP), SI
	MOVQ noise+8(FP), DI
	MOVQ n+16(FP), CX
	MOVQ out+24(FP), BX
	MOVQ stride+32(FP), DX
	SHLQ $2, DX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7
	VXORPS Y8, Y8, Y8
	VXORPS Y9, Y9, Y9
	VXORPS Y10, Y10, Y10
	VXORPS Y11, Y11, Y11

loopAVX2:
	VMOVUPS (DI), Y12
	VMOVUPS 32(DI), Y13
	HALF(0, Y14, Y0, Y1)
	HALF(2048, Y15, Y2, Y3)
	HALF(4096, Y14, Y4, Y5)
	HALF(6144, Y15, Y6, Y7)
	HALF(8192, Y14, Y8, Y9)
	HALF(10240, Y15, Y10, Y11)
	ADDQ $4, SI
	ADDQ $128, DI
	DECQ CX
	JNZ loopAVX2

	ROWHALF(Y0, Y1)
	ROWHALF(Y2, Y3)
	ROWHALF(Y4, Y5)
	ROWHALF(Y6, Y7)
	ROWHALF(Y8, Y9)
	ROWHALF(Y10, Y11)
	VZEROUPPER
	RET

// FOUR stores four coordinates, at the given offset from AX, of 8 noises at BX, 128 bytes from coordinate to coordinate.
#define FOUR(at) \
	VMOVUPS at(AX), X0                         \
	VMOVUPS at(AX)(R8*1), X1                   \
	VMOVUPS at(AX)(R8*2), X2                   \
	VMOVUPS at(AX)(R9*1), X3                   \
	VINSERTF128 $1, at(AX)(R8*4), Y0, Y0       \
	VINSERTF128 $1, at(AX)(R10*1), Y1, Y1      \
	VINSERTF128 $1, at(AX)(R9*2), Y2, Y2       \
	VINSERTF128 $1, at(AX)(R11*1), Y3, Y3      \
	VUNPCKLPS Y1, Y0, Y4                       \
	VUNPCKLPS Y3, Y2, Y5                       \
	VUNPCKHPS Y1, Y0, Y6                       \
	VUNPCKHPS Y3, Y2, Y7                       \
	VUNPCKLPD Y5, Y4, Y0                       \
	VUNPCKHPD Y5, Y4, Y1                       \
	VUNPCKLPD Y7, Y6, Y2                       \
	VUNPCKHPD Y7, Y6, Y3                       \
	VMOVUPS Y0, (32*at)(BX)                     \
	VMOVUPS Y1, (32*at+128)(BX)                 \
	VMOVUPS Y2, (32*at+256)(BX)                 \
	VMOVUPS Y3, (32*at+384)(BX)

// func transposeAVX2(dst, src *float32, dim, n int)
// copies n coordinates, a positive multiple of 16, of 8 noises, dim apart.
TEXT ·transposeAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), BX
	MOVQ src+8(FP), AX
	MOVQ dim+16(FP), R8
	MOVQ n+24(FP), CX
	SHLQ $2, R8
	LEAQ (R8)(R8*2), R9
	LEAQ (R8)(R8*4), R10
	LEAQ (R9)(R8*4), R11

loopTranspose:
	PREFETCHT0 512(AX)
	PREFETCHT0 512(AX)(R8*1)
	PREFETCHT0 512(AX)(R8*2)
	PREFETCHT0 512(AX)(R9*1)
	PREFETCHT0 512(AX)(R8*4)
	PREFETCHT0 512(AX)(R10*1)
	PREFETCHT0 512(AX)(R9*2)
	PREFETCHT0 512(AX)(R11*1)
	FOUR(0)
	FOUR(16)
	FOUR(32)
	FOUR(48)
	ADDQ $64, AX
	ADDQ $2048, BX
	SUBQ $16, CX
	JNZ loopTranspose
	VZEROUPPER
	RET
