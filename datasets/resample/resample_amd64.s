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
