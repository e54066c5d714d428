// The guest's own benchmark: a program of a few dozen instructions that reads blocks of a device with O_DIRECT, so that
// nothing but the system call, the driver and the controller is measured. Busybox has nothing that reads at random.
// Specification: System V ABI, Intel386 supplement (ELF); Linux's system calls of i386.

/** What the program opens: a symbolic link to the device. */
export const READER_TARGET = '/tmp/target';

export interface ReaderOptions {
  /** A power of two. */
  readonly blockBytes: number;
  /** Blocks that are read, one after the other. */
  readonly count: number;
  /** Blocks among which they are, from the beginning of the device on: a power of two. */
  readonly span: number;
}

const LOAD = 0x08048000;
const HEADERS = 52 + 32;
const BUFFER = 0x08100000;
const O_DIRECT_LARGEFILE = 0x4000 | 0x8000;
const [SYS_EXIT, SYS_OPEN, SYS_PREAD64] = [1, 5, 180];

/** The program as an ELF file. It exits with 0 when every read gave all it was asked for, with 1 otherwise. */
export function readerProgram({ blockBytes, count, span }: ReaderOptions): Uint8Array {
  const text = new TextEncoder().encode(`${READER_TARGET}\0`);
  const seed = LOAD + HEADERS;
  const path = seed + 4;
  const start = path + text.length;
  const code = [
    ...[0xb8, ...dword(SYS_OPEN)], // mov eax, SYS_open
    ...[0xbb, ...dword(path)], // mov ebx, path
    ...[0xb9, ...dword(O_DIRECT_LARGEFILE)], // mov ecx, flags
    ...[0xcd, 0x80], // int 0x80
    ...[0x85, 0xc0, 0x78, 0], // test eax, eax; js fail (patched)
    ...[0x89, 0xc3], // mov ebx, eax
    ...[0xb9, ...dword(BUFFER)], // mov ecx, BUFFER
    ...[0xba, ...dword(blockBytes)], // mov edx, blockBytes
    ...[0x31, 0xff], // xor edi, edi
    ...[0xbd, ...dword(count)], // mov ebp, count
  ];
  const failJump = 20;
  const loop = code.length;
  code.push(
    ...[0x69, 0x05, ...dword(seed), ...dword(1103515245)], // imul eax, [seed], 1103515245
    ...[0x05, ...dword(12345)], // add eax, 12345
    ...[0xa3, ...dword(seed)], // mov [seed], eax
    ...[0xc1, 0xe8, 8], // shr eax, 8
    ...[0x25, ...dword(span - 1)], // and eax, span - 1
    ...[0xc1, 0xe0, Math.log2(blockBytes)], // shl eax, log2 of the block
    ...[0x89, 0xc6], // mov esi, eax
    ...[0xb8, ...dword(SYS_PREAD64)], // mov eax, SYS_pread64
    ...[0xcd, 0x80], // int 0x80
    ...[0x39, 0xd0, 0x75, 0], // cmp eax, edx; jne fail (patched)
  );
  const failJumpInLoop = code.length - 1;
  code.push(0x4d, 0x75, 0); // dec ebp; jnz loop
  code[code.length - 1] = (loop - code.length) & 0xff;
  code.push(0x31, 0xdb, 0xeb, 5); // xor ebx, ebx; jmp exit
  const fail = code.length;
  code.push(0xbb, ...dword(1)); // fail: mov ebx, 1
  code.push(0xb8, ...dword(SYS_EXIT), 0xcd, 0x80); // exit: mov eax, SYS_exit; int 0x80
  code[failJump] = fail - failJump - 1;
  code[failJumpInLoop] = fail - failJumpInLoop - 1;
  const body = Uint8Array.from([...dword(1), ...text, ...code]);
  return elf(body, start, BUFFER - LOAD + blockBytes);
}

/** One segment, readable, writable and executable, with the headers at its beginning. */
function elf(body: Uint8Array, entry: number, memoryBytes: number): Uint8Array {
  const file = new Uint8Array(HEADERS + body.length);
  const view = new DataView(file.buffer);
  const words = (at: number, ...values: number[]): void => {
    for (const [i, value] of values.entries()) view.setUint32(at + 4 * i, value, true);
  };
  file.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]); // "\x7fELF", 32 bits, little-endian, version 1
  words(16, 2 | (3 << 16), 1, entry, 52, 0, 0, 52 | (32 << 16), 1, 0); // executable for the 80386, one program header
  words(52, 1, 0, LOAD, LOAD, file.length, memoryBytes, 7, 0x1000); // PT_LOAD, all rights
  file.set(body, HEADERS);
  return file;
}

function dword(value: number): number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
}
