#include "textflag.h"

// The bytes of two RGB pixels, each at the start of a group of four.
DATA spread<>+0(SB)/8, $0x8005040380020100
DATA spread<>+8(SB)/8, $0x8080808080808080
GLOBL spread<>(SB), RODATA|NOPTR, $16

// half, four times.
DATA halves<>+0(SB)/8, $0x0020000000200000
DATA halves<>+8(SB)/8, $0x0020000000200000
GLOBL halves<>(SB), RODATA|NOPTR, $16

// func rowRGB(dst, src *uint8, offsets, weights *int32, n, pairs int)
TEXT ·rowRGB(SB), NOSPLIT, $0-48
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ offsets+16(FP), R8
	MOVQ weights+24(FP), R9
	MOVQ n+32(FP), CX
	MOVQ pairs+40(FP), DX
	VMOVDQU spread<>(SB), X5
	VMOVDQU halves<>(SB), X6

pixel:
	MOVLQSX (R8), AX
	ADDQ $4, R8
	ADDQ SI, AX
	MOVQ DX, BX
	VPXOR Y0, Y0, Y0

pair:
	VMOVQ (AX), X1
	VPSHUFB X5, X1, X1
	VPMOVZXBD X1, Y1            // r g b 0 r g b 0
	VPMULLD (R9), Y1, Y1
	VPADDD Y1, Y0, Y0
	ADDQ $6, AX
	ADDQ $32, R9
	DECQ BX
	JNZ pair
	VEXTRACTI128 $1, Y0, X1
	VPADDD X1, X0, X0
	VPADDD X6, X0, X0
	VPSRAD $22, X0, X0
	VPACKUSDW X0, X0, X0        // 0 … 65535
	VPACKUSWB X0, X0, X0        // 0 … 255: words above 32767 cannot be, since sums are below 1024
	VMOVD X0, (DI)
	ADDQ $3, DI
	DECQ CX
	JNZ pixel
	VZEROUPPER
	RET

// func columns(dst, src *uint8, stride, n int, weights *int32, taps int)
TEXT ·columns(SB), NOSPLIT, $0-48
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ stride+16(FP), R10
	MOVQ n+24(FP), CX
	MOVQ weights+32(FP), R9
	MOVQ taps+40(FP), DX
	VPBROADCASTD halves<>(SB), Y6

eight:
	VMOVDQU Y6, Y0
	MOVQ SI, AX
	XORQ BX, BX

tap:
	VPMOVZXBD (AX), Y1
	VPBROADCASTD (R9)(BX*4), Y2
	VPMULLD Y2, Y1, Y1
	VPADDD Y1, Y0, Y0
	ADDQ R10, AX
	INCQ BX
	CMPQ BX, DX
	JLT tap
	VPSRAD $22, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPACKUSDW X1, X0, X0
	VPACKUSWB X0, X0, X0
	VMOVQ X0, (DI)
	ADDQ $8, SI
	ADDQ $8, DI
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
