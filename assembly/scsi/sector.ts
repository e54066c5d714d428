// A block of mode 1 as it is on a CD (ECMA-130, sectors and annex A): sync pattern, header, 2048 bytes of data, four
// of error detection, eight zeroes, 276 of error correction. The two corrections are Reed-Solomon codes over GF(2^8)
// with the polynomial x^8 + x^4 + x^3 + x^2 + 1, whose two parity bytes make the sum of a codeword, and the sum
// weighted by the powers of the primitive element, zero.
import { CD_FRAMES, CD_PREGAP, CD_SECONDS, CD_SYNC_BYTES } from './mmc-regs';

/** x^32 + x^31 + x^16 + x^15 + x^4 + x^3 + x + 1, the lowest bit first. */
const EDC_POLYNOMIAL: u32 = 0xd8018001;
/** Where the sum of all bytes before it stands. */
const EDC_AT: u32 = 2064;
/**
 * The code words of P: 86 columns of 24 bytes; of Q: 52 diagonals of 43 bytes; each with two bytes of parity (annex A).
 */
const P_WORDS: u32 = 86;
const P_BYTES: u32 = 24;
const P_AT: u32 = 2076;
const Q_WORDS: u32 = 52;
const Q_BYTES: u32 = 43;
const Q_AT: u32 = 2248;
/** Bytes that Q covers, and the step from one byte of a diagonal to the next. */
const Q_SPAN: u32 = 2236;
const Q_STEP: u32 = 88;
/** 1 / (x + 1) in the field. */
const INVERSE_OF_3: u32 = 0xf4;

/** Sync pattern, address and mode of block `lba`. */
export function putHead(at: usize, lba: u32): void {
  memory.fill(at, 0xff, CD_SYNC_BYTES);
  store<u8>(at, 0);
  store<u8>(at, 0, CD_SYNC_BYTES - 1);
  const frames = lba + CD_PREGAP;
  store<u8>(at, bcd(frames / (CD_SECONDS * CD_FRAMES)), 12);
  store<u8>(at, bcd((frames / CD_FRAMES) % CD_SECONDS), 13);
  store<u8>(at, bcd(frames % CD_FRAMES), 14);
  store<u8>(at, 1, 15);
}

function bcd(value: u32): u8 {
  return <u8>(((value / 10) << 4) | (value % 10));
}

/** Error detection and correction of the block at `at`, whose head and data are there. */
export function putCodes(at: usize): void {
  let sum: u32 = 0;
  for (let i: u32 = 0; i < EDC_AT; i++) {
    sum ^= load<u8>(at + i);
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ ((sum & 1) != 0 ? EDC_POLYNOMIAL : 0);
  }
  store<u32>(at + EDC_AT, sum);
  store<u64>(at + EDC_AT, 0, 4);
  const covered = at + CD_SYNC_BYTES;
  for (let i: u32 = 0; i < P_WORDS; i++)
    putParity(covered, i, P_WORDS, P_BYTES, at + P_AT + i, at + P_AT + P_WORDS + i);
  for (let i: u32 = 0; i < Q_WORDS; i++) {
    const first = (i >>> 1) * P_WORDS + (i & 1);
    putParity(covered, first, Q_STEP, Q_BYTES, at + Q_AT + i, at + Q_AT + Q_WORDS + i);
  }
}

/** The two parity bytes of `count` bytes from `first` on, `step` apart and round the end of what is covered. */
function putParity(covered: usize, first: u32, step: u32, count: u32, to: usize, second: usize): void {
  let plain: u32 = 0;
  let weighted: u32 = 0;
  let at = first;
  for (let i: u32 = 0; i < count; i++) {
    const byte: u32 = load<u8>(covered + at);
    plain ^= byte;
    weighted = twice(weighted) ^ byte;
    at += step;
    if (at >= Q_SPAN) at -= Q_SPAN;
  }
  // The data's last byte stands two places before the end of the code word.
  weighted = twice(twice(weighted));
  const parity = times(plain ^ weighted, INVERSE_OF_3);
  store<u8>(to, <u8>parity);
  store<u8>(second, <u8>(plain ^ parity));
}

function twice(value: u32): u32 {
  return (value << 1) ^ ((value & 0x80) != 0 ? 0x11d : 0);
}

function times(a: u32, b: u32): u32 {
  let product: u32 = 0;
  for (let bit = 0; bit < 8; bit++) {
    if ((b & (1 << bit)) != 0) product ^= a;
    a = twice(a);
  }
  return product;
}
