// struct buf of buf(9S). The functions are in buf.ts.

import type { Page, Semaphore } from '../kernel/index.ts';
import type { Proc } from './proc.ts';

// ---- b_flags

export const B_BUSY = 0x1;
/** The transfer has ended. */
export const B_DONE = 0x2;
/** It failed: b_error says how. */
export const B_ERROR = 0x4;
/** b_pages are the memory. */
export const B_PAGEIO = 0x10;
/** The memory is a user's, at b_un.b_addr of b_proc. */
export const B_PHYS = 0x20;
/** From the device to memory. */
export const B_READ = 0x40;
export const B_WANTED = 0x80;
/** From memory to the device. */
export const B_WRITE = 0x100;
/** Nobody waits: biodone() releases the buffer. */
export const B_ASYNC = 0x400;
/** bp_mapin() gave it an address of the kernel. */
export const B_REMAPPED = 0x4000;
/** b_shadow lists the pages. */
export const B_SHADOW = 0x200000;
export const B_FAILFAST = 0x1000000;
/** The device has it; for the observation of I/O. */
export const B_STARTED = 0x2000000;
export const B_ABRWRITE = 0x4000000;

/** A place in a list of pages, as C's `page_t **`: a buf borrows the list of its cookie and copies nothing. */
export class PageListPtr {
  readonly list: readonly Page[];
  readonly index: number;

  constructor(list: readonly Page[], index = 0) {
    this.list = list;
    this.index = index;
  }

  /** The pointer `pages` entries further. */
  plus(pages: number): PageListPtr {
    return pages === 0 ? this : new PageListPtr(this.list, this.index + pages);
  }

  /** The page `i` entries from here; null beyond the end. */
  page(i = 0): Page | null {
    return this.list[this.index + i] ?? null;
  }
}

/** Called instead of the usual end of biodone(); what it returns is ignored. It must not sleep. */
export type Iodone = (bp: Buf) => number | undefined;

/** The state of a header's memory: not yet bioinit()ed, in use, biofini()shed, given to freerbuf(). */
export type BufState = 'raw' | 'ready' | 'finished' | 'free';

/** One transfer between memory and a device. `new Buf()` is the memory alone: kmem_alloc(biosize()) of C. */
export class Buf {
  b_flags = 0;
  /** For whoever has the buffer, usually the driver's queue. */
  av_forw: Buf | null = null;
  av_back: Buf | null = null;
  b_edev = 0;
  /** Bytes to be transferred. */
  b_bcount = 0;
  b_bufsize = 0;
  /** b_resid, for who only shows it. */
  resid = 0;
  /** Somebody has read b_resid since biodone(), or it says nothing. */
  residSeen = true;
  /** Block of DEV_BSIZE bytes on the device. */
  b_lblkno = 0;
  /** errno, valid with B_ERROR. */
  b_error = 0;
  /** Address of the memory: of b_proc, or the kernel's. */
  readonly b_un = { b_addr: 0 };
  /** Whose address it is; null: the kernel's. */
  b_proc: Proc | null = null;
  /** With B_SHADOW: the pages of the memory, the first holds b_un.b_addr. */
  b_shadow: PageListPtr | null = null;
  /** With B_PAGEIO: the pages of the memory; b_un.b_addr is an offset in the first. */
  b_pages: PageListPtr | null = null;
  b_file: unknown = null;
  b_offset = 0;
  b_iodone: Iodone | null = null;
  /** The driver's own. */
  b_private: unknown = null;
  /** Held by the owner of the buffer. Null before bioinit() and after biofini(). */
  b_sem: Semaphore | null = null;
  /** Posted by biodone(), waited for by biowait(). */
  b_io: Semaphore | null = null;
  /** Bindings of DMA handles to it that exist now. */
  bindings = 0;
  state: BufState = 'raw';
  /** getrbuf() made it: freerbuf() takes it back. */
  allocated = false;
  /** biodone() has ended the transfer, and nobody has taken its result: what that was. */
  ended = false;
  endResid = 0;
  endCount = 0;
  endError = 0;

  /** Bytes that were not transferred. */
  get b_resid(): number {
    this.residSeen = true;
    return this.resid;
  }

  set b_resid(bytes: number) {
    this.resid = bytes;
  }

  /** The same storage as b_lblkno in a 64-bit kernel. */
  get b_blkno(): number {
    return this.b_lblkno;
  }

  set b_blkno(block: number) {
    this.b_lblkno = block;
  }
}
