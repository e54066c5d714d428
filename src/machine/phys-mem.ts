// The CPU's door to RAM. Kernels and drivers touch memory only through this class, so that the guard can see
// both sides of every buffer; the typed-array views stay in here and in the folder around it.

import { PAGE_BYTES, PAGE_CLEAN, PAGE_SHIFT } from '../../assembly/bus/layout.ts';
import type { DirtyPages } from './dirty-pages.ts';
import { BusError } from './errors.ts';

/** One region of RAM: where it is in the physical address space, and how long it is. */
export interface RamRegion {
  /** First physical address, a multiple of 4096. */
  readonly base: number;
  /** Bytes, a multiple of 4096. */
  readonly bytes: number;
}

/** A region, and where its bytes are in the module's memory. */
export interface BackedRegion extends RamRegion {
  readonly offset: number;
}

/** Hears what becomes of bytes; they are numbered through all regions. */
export interface ByteWatch {
  written(index: number, bytes: number): void;
  /** Nobody needs what is there any more: as if it had never been written. */
  forgotten(index: number, bytes: number): void;
  /** The copy is as good as the original. */
  copied(to: number, from: number, bytes: number): void;
}

/** Something that is to happen at every access of the CPU to RAM or to a register; one for the whole machine. */
export interface AccessHook {
  run: (() => void) | null;
}

/** Hears of accesses of the CPU to pages that are watched, before they happen. */
export type TouchWatch = (address: number, bytes: number, write: boolean) => void;

/**
 * Physical memory as the CPU sees it. Addresses are numbers from 0 to 2^53 − 1. Every method throws BusError
 * where an access meets no RAM, before it changes anything. Multi-byte values are little endian and may be
 * unaligned.
 */
export class PhysMem {
  readonly regions: readonly RamRegion[];
  readonly #regions: readonly BackedRegion[];
  readonly #u8: Uint8Array;
  readonly #u16: Uint16Array;
  readonly #u32: Uint32Array;
  /** First byte's number among all bytes of RAM, for each region. */
  readonly #first: readonly number[];
  // The region of the last hit.
  #base = 0;
  #end = 0;
  #offset = 0;
  #index = 0;
  #watch: ByteWatch | null = null;
  readonly #access: AccessHook;
  /** Whether anything at all is to happen before an access. */
  #hooked = false;
  /** How often each page of the module's memory is watched; null while nobody watches. */
  #watched: Uint16Array | null = null;
  readonly #touches: TouchWatch[] = [];
  readonly #dirty: DirtyPages;
  /** Its flags: a store that meets no clean page has nothing to say. */
  readonly #flags: Uint8Array;

  constructor(buffer: ArrayBuffer, regions: readonly BackedRegion[], access: AccessHook, dirty: DirtyPages) {
    this.#access = access;
    this.#dirty = dirty;
    this.#flags = dirty.flags;
    this.#u8 = new Uint8Array(buffer);
    this.#u16 = new Uint16Array(buffer);
    this.#u32 = new Uint32Array(buffer);
    this.#regions = regions;
    this.regions = regions.map(({ base, bytes }) => Object.freeze({ base, bytes }));
    this.#first = regions.map((_region, i) => regions.slice(0, i).reduce((sum, { bytes }) => sum + bytes, 0));
  }

  /** Has `watch` told of every byte that the CPU writes, copies or forgets. */
  watchBytes(watch: ByteWatch | null): void {
    this.#watch = watch;
  }

  /** What onAccess() of the machine has installed or taken away counts from now on. The machine calls this. */
  accessChanged(): void {
    this.#hooked = this.#access.run !== null || this.#watched !== null;
  }

  /** Has `touch` told, too, of every access to a page that watchPages() has been asked to watch. */
  watchTouches(touch: TouchWatch): void {
    this.#touches.push(touch);
    this.#watched ??= new Uint16Array(this.#flags.length);
    this.accessChanged();
  }

  /** Watches the pages of `length` bytes at `address` once more (1), or once less (-1). */
  watchPages(address: number, length: number, change: 1 | -1): void {
    const watched = this.#watched;
    if (watched === null) return;
    const end = address + length;
    for (let at = address; at < end; at += PAGE_BYTES - (at % PAGE_BYTES)) {
      if (!this.#seek(at)) continue;
      const page = (at - this.#base + this.#offset) >>> PAGE_SHIFT;
      watched[page] = (watched[page] as number) + change;
    }
  }

  /** Bytes of RAM in all. */
  get bytes(): number {
    return this.#regions.reduce((sum, region) => sum + region.bytes, 0);
  }

  /** Whether `length` bytes at `address` are all RAM of one region. */
  isRam(address: number, length = 1): boolean {
    return this.#regions.some(
      (region) => address >= region.base && address + length <= region.base + region.bytes,
    );
  }

  read8(address: number): number {
    if (this.#hooked) this.#before(address, 1, false);
    return this.#u8[this.#find(address, 1)] as number;
  }

  read16(address: number): number {
    if (this.#hooked) this.#before(address, 2, false);
    const at = this.#find(address, 2);
    if ((at & 1) === 0) return this.#u16[at >>> 1] as number;
    return (this.#u8[at] as number) | ((this.#u8[at + 1] as number) << 8);
  }

  /** Unsigned. */
  read32(address: number): number {
    if (this.#hooked) this.#before(address, 4, false);
    const at = this.#find(address, 4);
    if ((at & 3) === 0) return this.#u32[at >>> 2] as number;
    const high = ((this.#u8[at + 2] as number) << 16) | ((this.#u8[at + 3] as number) << 24);
    return ((this.#u8[at] as number) | ((this.#u8[at + 1] as number) << 8) | high) >>> 0;
  }

  write8(address: number, value: number): void {
    if (this.#hooked) this.#before(address, 1, true);
    const at = this.#find(address, 1);
    if (this.#flags[at >>> PAGE_SHIFT] === PAGE_CLEAN) this.#dirty.mark(at, 1);
    this.#u8[at] = value;
    if (this.#watch !== null) this.#watch.written(this.#index + at - this.#offset, 1);
  }

  write16(address: number, value: number): void {
    if (this.#hooked) this.#before(address, 2, true);
    const at = this.#find(address, 2);
    if ((at & 1) !== 0 || this.#flags[at >>> PAGE_SHIFT] === PAGE_CLEAN) this.#dirty.mark(at, 2);
    if ((at & 1) === 0) this.#u16[at >>> 1] = value;
    else {
      this.#u8[at] = value;
      this.#u8[at + 1] = value >>> 8;
    }
    if (this.#watch !== null) this.#watch.written(this.#index + at - this.#offset, 2);
  }

  write32(address: number, value: number): void {
    if (this.#hooked) this.#before(address, 4, true);
    const at = this.#find(address, 4);
    if ((at & 3) !== 0 || this.#flags[at >>> PAGE_SHIFT] === PAGE_CLEAN) this.#dirty.mark(at, 4);
    if ((at & 3) === 0) this.#u32[at >>> 2] = value;
    else for (let i = 0; i < 4; i++) this.#u8[at + i] = value >>> (8 * i);
    if (this.#watch !== null) this.#watch.written(this.#index + at - this.#offset, 4);
  }

  /** Writes four dwords in a row, as descriptors are made of, with one look for where they go. */
  write4x32(address: number, a: number, b: number, c: number, d: number): void {
    if (this.#hooked) this.#before(address, 16, true);
    if ((address & 3) !== 0 || address < this.#base || address + 16 > this.#end) {
      this.write32(address, a);
      this.write32(address + 4, b);
      this.write32(address + 8, c);
      this.write32(address + 12, d);
      return;
    }
    const at = address - this.#base + this.#offset;
    const flags = this.#flags;
    if (flags[at >>> PAGE_SHIFT] === PAGE_CLEAN || flags[(at + 15) >>> PAGE_SHIFT] === PAGE_CLEAN) {
      this.#dirty.mark(at, 16);
    }
    const words = this.#u32;
    const i = at >>> 2;
    words[i] = a;
    words[i + 1] = b;
    words[i + 2] = c;
    words[i + 3] = d;
    if (this.#watch !== null) this.#watch.written(this.#index + at - this.#offset, 16);
  }

  /** Writes all of `words` in a row: a whole entry of a ring, with one look for where it goes. */
  writeWords(address: number, words: Uint32Array): void {
    const count = words.length;
    const bytes = 4 * count;
    if (this.#hooked) this.#before(address, bytes, true);
    const at = (address & 3) === 0 ? this.#tryRun(address, bytes) : -1;
    if (at < 0) {
      this.writeForDevice(address, new Uint8Array(words.buffer, words.byteOffset, bytes));
      return;
    }
    const flags = this.#flags;
    const last = (at + bytes - 1) >>> PAGE_SHIFT;
    for (let page = at >>> PAGE_SHIFT; page <= last; page++) {
      if (flags[page] === PAGE_CLEAN) this.#dirty.mark(at, bytes);
    }
    const memory = this.#u32;
    for (let i = 0, to = at >>> 2; i < count; i++, to++) memory[to] = words[i] as number;
    if (this.#watch !== null) this.#watch.written(this.#index + at - this.#offset, bytes);
  }

  /** Fills `length` bytes at `address` with `byte`. */
  fill(address: number, byte: number, length: number): void {
    if (this.#hooked) this.#before(address, length, true);
    this.#check(address, length);
    this.#pieces(address, length, (at, n) => {
      this.#dirty.mark(at, n);
      this.#u8.fill(byte, at, at + n);
      return true;
    });
    this.#written(address, length);
  }

  /** Copies `length` bytes from `from` to `to`; the ranges may overlap. */
  copy(to: number, from: number, length: number): void {
    if (this.#hooked) {
      this.#before(to, length, true);
      this.#checkTouch(from, length, false);
    }
    if (length === 0) return;
    const target = this.#tryRun(to, length);
    const targetIndex = this.#index + target - this.#offset;
    const source = this.#tryRun(from, length);
    if (target < 0 || source < 0) {
      this.writeBytes(to, this.readBytes(from, length));
      return;
    }
    this.#dirty.mark(target, length);
    this.#u8.copyWithin(target, source, source + length);
    if (this.#watch !== null) this.#watch.copied(targetIndex, this.#index + source - this.#offset, length);
  }

  /** Says that nobody needs these bytes any more: for the guard they count as never written from now on. */
  forget(address: number, length: number): void {
    const watch = this.#watch;
    if (watch === null) return;
    this.#check(address, length);
    this.#pieces(address, length, (at, n) => {
      watch.forgotten(this.#index + at - this.#offset, n);
      return true;
    });
  }

  /** A copy of `length` bytes at `address`. */
  readBytes(address: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.readInto(address, bytes, 0, length);
    return bytes;
  }

  /** Copies `length` bytes at `address` into `into`, from its index `start` on. */
  readInto(address: number, into: Uint8Array, start = 0, length = into.length - start): void {
    if (this.#hooked) this.#before(address, length, false);
    this.#check(address, length);
    let done = start;
    this.#pieces(address, length, (at, n) => {
      into.set(this.#u8.subarray(at, at + n), done);
      done += n;
      return true;
    });
  }

  /** Copies `length` bytes of `bytes`, from its index `start` on, to `address`. */
  writeBytes(address: number, bytes: Uint8Array, start = 0, length = bytes.length - start): void {
    if (this.#hooked) this.#before(address, length, true);
    this.writeForDevice(address, bytes, start, length);
  }

  /** As writeBytes() in a device's stead, where a driver answers for it: who watches the CPU is not told. */
  writeForDevice(address: number, bytes: Uint8Array, start = 0, length = bytes.length - start): void {
    this.#check(address, length);
    let done = start;
    this.#pieces(address, length, (at, n) => {
      this.#dirty.mark(at, n);
      this.#u8.set(n === bytes.length ? bytes : bytes.subarray(done, done + n), at);
      done += n;
      return true;
    });
    this.#written(address, length);
  }

  /** Whether `length` bytes at `address` are those of `bytes` from its index `start` on. */
  equals(address: number, bytes: Uint8Array, start = 0, length = bytes.length - start): boolean {
    if (this.#hooked) this.#before(address, length, false);
    this.#check(address, length);
    let done = start;
    return this.#pieces(address, length, (at, n) => {
      for (let i = 0; i < n; i++) if (this.#u8[at + i] !== bytes[done + i]) return false;
      done += n;
      return true;
    });
  }

  /** What is to happen before an access. */
  #before(address: number, length: number, write: boolean): void {
    if (this.#access.run !== null) this.#access.run();
    this.#checkTouch(address, length, write);
  }

  #checkTouch(address: number, length: number, write: boolean): void {
    const watched = this.#watched;
    if (watched === null) return;
    const at = this.#tryRun(address, length);
    if (at < 0) return; // meets no RAM, or spans regions
    const last = (at + length - 1) >>> PAGE_SHIFT;
    for (let page = at >>> PAGE_SHIFT; page <= last; page++) {
      if (watched[page] === 0) continue;
      for (const touch of this.#touches) touch(address, length, write);
      return;
    }
  }

  /** Calls `visit` for each stretch of module memory behind the range until it returns false. */
  #pieces(address: number, length: number, visit: (at: number, bytes: number) => boolean): boolean {
    let left = length;
    while (left > 0) {
      const at = this.#find(address, 1);
      const n = Math.min(left, this.#end - address);
      if (!visit(at, n)) return false;
      address += n;
      left -= n;
    }
    return true;
  }

  /** Throws unless every byte of the range is RAM; regions that touch count as one. */
  #check(address: number, length: number): void {
    let at = address;
    while (at < address + length) {
      if (!this.#seek(at)) throw new BusError(address, length);
      at = this.#end;
    }
  }

  #written(address: number, length: number): void {
    const watch = this.#watch;
    if (watch === null) return;
    this.#pieces(address, length, (at, n) => {
      watch.written(this.#index + at - this.#offset, n);
      return true;
    });
  }

  /** Module offset of `length` bytes at `address`, all in one region. */
  #find(address: number, length: number): number {
    if (address >= this.#base && address + length <= this.#end) return address - this.#base + this.#offset;
    if (!this.#seek(address) || address + length > this.#end) throw new BusError(address, length);
    return address - this.#base + this.#offset;
  }

  #tryRun(address: number, length: number): number {
    if (this.#seek(address) && address + length <= this.#end) return address - this.#base + this.#offset;
    return -1;
  }

  #seek(address: number): boolean {
    if (address >= this.#base && address < this.#end) return true;
    for (let i = 0; i < this.#regions.length; i++) {
      const region = this.#regions[i] as BackedRegion;
      if (address < region.base || address >= region.base + region.bytes) continue;
      this.#base = region.base;
      this.#end = region.base + region.bytes;
      this.#offset = region.offset;
      this.#index = this.#first[i] as number;
      return true;
    }
    return false;
  }
}
