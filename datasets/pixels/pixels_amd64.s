#include "textflag.h"

// Of four RGB pixels, as words, the first two's and the last two's r r g g b b 0 0.
DATA firsts<>+0(SB)/8, $0x8004800180038000
DATA firsts<>+8(SB)/8, $0x8080808080058002
GLOBL firsts<>(SB), RODATA|NOPTR, $16
DATA lasts<>+0(SB)/8, $0x800A800780098006
DATA lasts<>+8(SB)/8, $0x80808080800B8008
GLOBL lasts<>(SB), RODATA|NOPTR, $16

// half, twice.
DATA halves<>+0(SB)/8, $0x0020000000200000
GLOBL halves<>(SB), RODATA|NOPTR, $8

// func rowsRGB(dst0, dst1, src0, src1 *uint8, first, weights *int32, n, quads int)
TEXT ·rowsRGB(SB), NOSPLIT, $0-64
	MOVQ dst0+0(FP), DI
	MOVQ dst1+8(FP), R11
	MOVQ src0+16(FP), SI
	MOVQ src1+24(FP), R10
	MOVQ first+32(FP), R8
	MOVQ weights+40(FP), R9
	MOVQ n+48(FP), CX
	MOVQ quads+56(FP), DX
	VBROADCASTI128 firsts<>(SB), Y13
	VBROADCASTI128 lasts<>(SB), Y14
	VPBROADCASTD halves<>(SB), Y15

pixel:
	MOVLQSX (R8), AX
	ADDQ $4, R8
	LEAQ (AX)(AX*2), AX
	MOVQ DX, BX
	VPXOR Y0, Y0, Y0            // upper
	VMOVDQU Y15, Y1             // lower

quad:
	VMOVDQU (SI)(AX*1), X2
	VINSERTI128 $1, (R10)(AX*1), Y2, Y2
	VPSHUFB Y13, Y2, Y3
	VPSHUFB Y14, Y2, Y4
	VPBROADCASTD (R9), Y5
	VPBROADCASTD 4(R9), Y6
	VPBROADCASTD 8(R9), Y7
	VPBROADCASTD 12(R9), Y8
	VPMADDWD Y5, Y3, Y5
	VPMADDWD Y6, Y4, Y6
	VPMADDWD Y7, Y3, Y7
	VPMADDWD Y8, Y4, Y8
	VPADDD Y5, Y0, Y0
	VPADDD Y7, Y1, Y1
	VPADDD Y6, Y0, Y0
	VPADDD Y8, Y1, Y1
	ADDQ $12, AX
	ADDQ $16, R9
	DECQ BX
	JNZ quad
	VPSLLD $11, Y0, Y0
	VPADDD Y1, Y0, Y0
	VPSRAD $22, Y0, Y0
	VPACKUSDW Y0, Y0, Y0        // 0 … 65535
	VPACKUSWB Y0, Y0, Y0        // 0 … 255: words above 32767 cannot be, since sums are below 1024
	VMOVD X0, (DI)
	VEXTRACTI128 $1, Y0, X1
	VMOVD X1, (R11)
	ADDQ $3, DI
	ADDQ $3, R11
	DECQ CX
	JNZ pixel
	VZEROUPPER
	RET

// func columns(dst, src *uint8, stride, n int, weights *int32, quads int)
TEXT ·columns(SB), NOSPLIT, $0-48
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ stride+16(FP), R10
	MOVQ n+24(FP), CX
	MOVQ weights+32(FP), R9
	MOVQ quads+40(FP), DX
	VPBROADCASTD halves<>(SB), Y15

sixteen:
	MOVQ SI, AX
	MOVQ R9, R8
	MOVQ DX, BX
	VPXOR Y0, Y0, Y0            // upper, of bytes 0 … 3 and 8 … 11
	VPXOR Y1, Y1, Y1            // of 4 … 7 and 12 … 15
	VMOVDQU Y15, Y2             // lower
	VMOVDQU Y15, Y3

four:
	VPMOVZXBW (AX), Y4
	VPMOVZXBW (AX)(R10*1), Y5
	LEAQ (AX)(R10*2), AX
	VPUNPCKLWD Y5, Y4, Y6
	VPUNPCKHWD Y5, Y4, Y7
	VPMOVZXBW (AX), Y4
	VPMOVZXBW (AX)(R10*1), Y5
	LEAQ (AX)(R10*2), AX
	VPUNPCKLWD Y5, Y4, Y8
	VPUNPCKHWD Y5, Y4, Y9
	VPBROADCASTD (R8), Y10
	VPMADDWD Y10, Y6, Y11
	VPMADDWD Y10, Y7, Y12
	VPADDD Y11, Y0, Y0
	VPADDD Y12, Y1, Y1
	VPBROADCASTD 4(R8), Y10
	VPMADDWD Y10, Y8, Y11
	VPMADDWD Y10, Y9, Y12
	VPADDD Y11, Y0, Y0
	VPADDD Y12, Y1, Y1
	VPBROADCASTD 8(R8), Y10
	VPMADDWD Y10, Y6, Y11
	VPMADDWD Y10, Y7, Y12
	VPADDD Y11, Y2, Y2
	VPADDD Y12, Y3, Y3
	VPBROADCASTD 12(R8), Y10
	VPMADDWD Y10, Y8, Y11
	VPMADDWD Y10, Y9, Y12
	VPADDD Y11, Y2, Y2
	VPADDD Y12, Y3, Y3
	ADDQ $16, R8
	DECQ BX
	JNZ four
	VPSLLD $11, Y0, Y0
	VPSLLD $11, Y1, Y1
	VPADDD Y2, Y0, Y0
	VPADDD Y3, Y1, Y1
	VPSRAD $22, Y0, Y0
	VPSRAD $22, Y1, Y1
	VPACKUSDW Y1, Y0, Y0        // bytes 0 … 7 | 8 … 15
	VEXTRACTI128 $1, Y0, X1
	VPACKUSWB X1, X0, X0
	VMOVDQU X0, (DI)
	ADDQ $16, SI
	ADDQ $16, DI
	SUBQ $16, CX
	JNZ sixteen
	VZEROUPPER
	RET

// 255, its inverse.
DATA scale<>+0(SB)/4, $0x437F0000
DATA scale<>+4(SB)/4, $0x3B808081
DATA scale<>+8(SB)/4, $255
GLOBL scale<>(SB), RODATA|NOPTR, $12

// func unitRGB(dst *float32, plane int, src *uint8, n, step, low, high int, masks *[48]uint8)
TEXT ·unitRGB(SB), NOSPLIT, $0-64
	MOVQ dst+0(FP), DI
	MOVQ plane+8(FP), R8
	MOVQ src+16(FP), SI
	MOVQ n+24(FP), CX
	MOVQ step+32(FP), DX
	MOVQ low+40(FP), R9
	MOVQ high+48(FP), R10
	MOVQ masks+56(FP), AX
	LEAQ (DI)(R8*4), R11
	LEAQ (DI)(R8*8), R12
	VBROADCASTI128 (AX), Y10
	VBROADCASTI128 16(AX), Y11
	VBROADCASTI128 32(AX), Y12
	VBROADCASTSS scale<>+0(SB), Y13
	VBROADCASTSS scale<>+4(SB), Y14
	VPBROADCASTD scale<>+8(SB), Y15

// One colour: (2v − 255)/255, whose numerator is exact; the quotient is rounded once,
// by P. Markstein's step after the product with the inverse.
#define COLOUR(mask, to) \
	VPSHUFB mask, Y0, Y1 \
	VPADDD Y1, Y1, Y1 \
	VPSUBD Y15, Y1, Y1 \
	VCVTDQ2PS Y1, Y1 \
	VMULPS Y14, Y1, Y2 \
	VFNMADD231PS Y13, Y2, Y1 \
	VFMADD231PS Y14, Y1, Y2 \
	VMOVUPS Y2, (to) \
	ADDQ $32, to

eight:
	VMOVDQU (SI)(R9*1), X0
	VINSERTI128 $1, (SI)(R10*1), Y0, Y0
	COLOUR(Y10, DI)
	COLOUR(Y11, R11)
	COLOUR(Y12, R12)
	ADDQ DX, SI
	SUBQ $8, CX
	JNZ eight
	VZEROUPPER
	RET

// Four pixels of a lane: from r r r r g g g g b b b b to r g b r g b r g b r g b.
DATA weave<>+0(SB)/8, $0x0602090501080400
DATA weave<>+8(SB)/8, $0x808080800B07030A
GLOBL weave<>(SB), RODATA|NOPTR, $16

// The matrix of ycbcr.go, rounding, and the middle of a chroma byte.
DATA matrix<>+0(SB)/4, $91881
DATA matrix<>+4(SB)/4, $-22554
DATA matrix<>+8(SB)/4, $-46802
DATA matrix<>+12(SB)/4, $116130
DATA matrix<>+16(SB)/4, $32768
DATA matrix<>+20(SB)/4, $128
GLOBL matrix<>(SB), RODATA|NOPTR, $24

// func toRGB(dst, y, cb, cr *uint8, n int)
TEXT ·toRGB(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ y+8(FP), SI
	MOVQ cb+16(FP), R8
	MOVQ cr+24(FP), R9
	MOVQ n+32(FP), CX
	VBROADCASTI128 weave<>(SB), Y15
	VPBROADCASTD matrix<>+0(SB), Y14
	VPBROADCASTD matrix<>+4(SB), Y13
	VPBROADCASTD matrix<>+8(SB), Y12
	VPBROADCASTD matrix<>+12(SB), Y11
	VPBROADCASTD matrix<>+16(SB), Y10
	VPBROADCASTD matrix<>+20(SB), Y9
	VPXOR Y8, Y8, Y8

pixels:
	VPMOVZXBD (SI), Y0
	VPMOVZXBD (R8), Y1
	VPMOVZXBD (R9), Y2
	VPSUBD Y9, Y1, Y1           // Cb
	VPSUBD Y9, Y2, Y2           // Cr
	VPMULLD Y14, Y2, Y3         // R
	VPADDD Y10, Y3, Y3
	VPSRAD $16, Y3, Y3
	VPADDD Y0, Y3, Y3
	VPMULLD Y13, Y1, Y4         // G
	VPMULLD Y12, Y2, Y5
	VPADDD Y5, Y4, Y4
	VPADDD Y10, Y4, Y4
	VPSRAD $16, Y4, Y4
	VPADDD Y0, Y4, Y4
	VPMULLD Y11, Y1, Y5         // B
	VPADDD Y10, Y5, Y5
	VPSRAD $16, Y5, Y5
	VPADDD Y0, Y5, Y5
	VPACKSSDW Y4, Y3, Y3        // by lane: r r r r g g g g
	VPACKSSDW Y8, Y5, Y5        // b b b b 0 0 0 0
	VPACKUSWB Y5, Y3, Y3        // clipped to 0 … 255
	VPSHUFB Y15, Y3, Y3
	VMOVDQU X3, (DI)
	VEXTRACTI128 $1, Y3, X4
	VMOVDQU X4, 12(DI)
	ADDQ $8, SI
	ADDQ $8, R8
	ADDQ $8, R9
	ADDQ $24, DI
	SUBQ $8, CX
	JNZ pixels
	VZEROUPPER
	RET

// func blend(sums *uint16, near, far *uint8, n int)
TEXT ·blend(SB), NOSPLIT, $0-32
	MOVQ sums+0(FP), DI
	MOVQ near+8(FP), SI
	MOVQ far+16(FP), R8
	MOVQ n+24(FP), CX

blend16:
	VPMOVZXBW (SI), Y0
	VPMOVZXBW (R8), Y1
	VPADDW Y0, Y1, Y1
	VPADDW Y0, Y0, Y0
	VPADDW Y0, Y1, Y1
	VMOVDQU Y1, (DI)
	ADDQ $16, SI
	ADDQ $16, R8
	ADDQ $32, DI
	SUBQ $16, CX
	JNZ blend16
	VZEROUPPER
	RET

// func widen(out *uint8, sums *uint16, n int, roundLeft, roundRight uint16, shift uint)
TEXT ·widen(SB), NOSPLIT, $0-40
	MOVQ out+0(FP), DI
	MOVQ sums+8(FP), SI
	MOVQ n+16(FP), CX
	VPBROADCASTW roundLeft+24(FP), Y14
	VPBROADCASTW roundRight+26(FP), Y15
	VMOVQ shift+32(FP), X13

widen16:
	VMOVDQU 2(SI), Y0
	VPADDW Y0, Y0, Y1
	VPADDW Y0, Y1, Y0           // 3·nearer
	VPADDW (SI), Y0, Y1
	VPADDW 4(SI), Y0, Y2
	VPADDW Y14, Y1, Y1
	VPADDW Y15, Y2, Y2
	VPSRLW X13, Y1, Y1          // bytes in words: those to the left
	VPSRLW X13, Y2, Y2          // and to the right
	VPSLLW $8, Y2, Y2
	VPOR Y2, Y1, Y1
	VMOVDQU Y1, (DI)
	ADDQ $32, SI
	ADDQ $32, DI
	SUBQ $16, CX
	JNZ widen16
	VZEROUPPER
	RET
