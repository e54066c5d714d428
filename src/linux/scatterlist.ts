// Scatter lists (include/linux/scatterlist.h): the pieces of memory of one transfer, as their addresses for the CPU and,
// once mapped, for the device.
//
// In C a table is an array and its user holds a pointer to the first entry; here the entries of a table know each other
// and `SgTable.sgl` is that pointer. A table is made once and used for any number of transfers.

import type { Page } from '../kernel/index.ts';
import { KernelBug } from '../kernel/index.ts';
import { badArgument, INT_MAX, mustCount, mustPage, UINT_MAX } from './argument.ts';
import type { Linux } from './kernel.ts';

/** One entry (struct scatterlist). */
export class Scatterlist {
  page: Page | null = null;
  /** First byte in the page; the entry may reach into the pages that follow. */
  offset = 0;
  length = 0;
  /** Bus address and bytes, once mapped: sg_dma_address() and sg_dma_len(). */
  dma_address = 0;
  dma_length = 0;
  /** The last one that counts. */
  end = false;
  /** Not a piece of memory: the list goes on here. */
  chain: Scatterlist | null = null;
  /** Set by sg_init_table(); what is not initialised must not be used. */
  initialised = false;
  /** The entry behind this one in the table. */
  readonly following: Scatterlist | null;

  constructor(following: Scatterlist | null) {
    this.following = following;
  }
}

/** A table of entries (struct sg_table). */
export interface SgTable {
  readonly sgl: Scatterlist;
  /** Entries in use, and in all. */
  nents: number;
  readonly orig_nents: number;
}

/** More pages than a machine has: what cannot be is a mistake. */
const MAX_ENTRIES = 2 ** 20;

const ENTRIES = 'the number of entries';
const BYTES = 'the number of bytes';

export function createScatterlist(k: Linux) {
  const sg = {
    /** Makes a table of `nents` entries, initialised. */
    sg_alloc_table(nents: number): SgTable {
      if (!(Number.isInteger(nents) && nents > 0 && nents <= MAX_ENTRIES))
        throw new KernelBug('sg-init', `a table of ${nents} entries`);
      let sgl = new Scatterlist(null);
      for (let i = 1; i < nents; i++) sgl = new Scatterlist(sgl);
      sg.sg_init_table(sgl, nents);
      return { sgl, nents, orig_nents: nents };
    },

    /** Makes the `nents` entries from `sgl` on empty, the last one marked as the end. */
    sg_init_table(sgl: Scatterlist, nents: number): void {
      mustCount(nents, ENTRIES, 'sg_init_table', MAX_ENTRIES, 1);
      let entry: Scatterlist | null = sgl;
      for (let i = 0; i < nents; i++) {
        if (entry === null)
          throw new KernelBug('sg-init', `the table has ${i} entries, not ${nents}`, 'sg_init_table');
        entry.page = null;
        entry.offset = entry.length = 0;
        entry.dma_address = entry.dma_length = 0;
        entry.chain = null;
        entry.initialised = true;
        entry.end = i === nents - 1;
        entry = entry.following;
      }
    },

    /** Puts `len` bytes from `offset` on in `page` into the entry. */
    sg_set_page(entry: Scatterlist, page: Page, len: number, offset: number): void {
      check(entry, 'sg_set_page');
      mustPage(page, 'sg_set_page');
      mustCount(len, 'the length', 'sg_set_page', UINT_MAX);
      mustCount(offset, 'the offset', 'sg_set_page', UINT_MAX);
      entry.page = page;
      entry.offset = offset;
      entry.length = len;
    },

    /** Puts `buflen` bytes at a kernel address into the entry. @throws KernelBug sg-init where no memory is */
    sg_set_buf(entry: Scatterlist, buf: number, buflen: number): void {
      const page = k.pageAlloc.virt_to_page(buf);
      if (page === null) throw new KernelBug('sg-init', `no memory at 0x${buf.toString(16)}`, 'sg_set_buf');
      sg.sg_set_page(entry, page, buflen, buf - page.phys);
    },

    /** Makes a list of one entry: `buflen` bytes at a kernel address. */
    sg_init_one(entry: Scatterlist, buf: number, buflen: number): void {
      sg.sg_init_table(entry, 1);
      sg.sg_set_buf(entry, buf, buflen);
    },

    /** Copies bytes of the caller's to the memory of the list, from its beginning on; how many there was room for. */
    sg_copy_from_buffer(sgl: Scatterlist, nents: number, buf: Uint8Array, buflen: number): number {
      mustCount(buflen, BYTES, 'sg_copy_from_buffer');
      return eachPiece(sgl, nents, Math.min(buflen, buf.length), (phys, done, bytes) =>
        k.memory.writeBytes(phys, buf, done, bytes),
      );
    },

    /** Copies the memory of the list to the caller; how many bytes there were. */
    sg_copy_to_buffer(sgl: Scatterlist, nents: number, buf: Uint8Array, buflen: number): number {
      mustCount(buflen, BYTES, 'sg_copy_to_buffer');
      return eachPiece(sgl, nents, Math.min(buflen, buf.length), (phys, done, bytes) =>
        k.memory.readInto(phys, buf, done, bytes),
      );
    },

    /** @throws KernelBug sg-init for an entry that has no page */
    sg_page(entry: Scatterlist): Page {
      check(entry, 'sg_page');
      if (entry.page === null) throw new KernelBug('sg-init', 'the entry has no page', 'sg_page');
      return entry.page;
    },

    /** Physical address of the entry's first byte. */
    sg_phys(entry: Scatterlist): number {
      return sg.sg_page(entry).phys + entry.offset;
    },

    /** The entry after this one, over the links between tables; null behind the end. */
    sg_next(entry: Scatterlist): Scatterlist | null {
      check(entry, 'sg_next');
      if (entry.end) return null;
      const next = entry.following;
      if (next === null) throw new KernelBug('sg-init', 'the list has no end', 'sg_next');
      return next.chain ?? next;
    },

    /** `for (const entry of for_each_sg(sgl, nents))`: the first `nents` entries, fewer if the end comes first. */
    *for_each_sg(sgl: Scatterlist, nents: number): Generator<Scatterlist, void, void> {
      mustCount(nents, ENTRIES, 'for_each_sg', INT_MAX);
      let entry: Scatterlist | null = sgl;
      for (let i = 0; i < nents && entry !== null; i++) {
        yield entry;
        entry = sg.sg_next(entry);
      }
    },

    /** The entry numbered `nents` - 1. */
    sg_last(sgl: Scatterlist, nents: number): Scatterlist {
      let entry = sgl;
      mustCount(nents, ENTRIES, 'sg_last', INT_MAX, 1);
      for (let i = 1; i < nents && !entry.end; i++) entry = sg.sg_next(entry) ?? entry;
      return entry;
    },

    /** Entries up to the end mark. */
    sg_nents(sgl: Scatterlist): number {
      let count = 0;
      for (let entry: Scatterlist | null = sgl; entry !== null; entry = sg.sg_next(entry)) count++;
      return count;
    },

    /** Makes an entry the last one of its list. */
    sg_mark_end(entry: Scatterlist): void {
      check(entry, 'sg_mark_end');
      entry.end = true;
      entry.chain = null;
    },

    /** The list goes on behind the entry. */
    sg_unmark_end(entry: Scatterlist): void {
      check(entry, 'sg_unmark_end');
      entry.end = false;
    },

    /** Whether the list ends with the entry. */
    sg_is_last(entry: Scatterlist): boolean {
      return entry.end;
    },

    /** Makes the last of the `nents` entries of one table a link to the other: its own memory is lost. */
    sg_chain(sgl: Scatterlist, nents: number, next: Scatterlist): void {
      mustCount(nents, ENTRIES, 'sg_chain', INT_MAX, 1);
      let link = sgl;
      for (let i = 1; i < nents; i++) {
        if (link.following === null) {
          throw new KernelBug('sg-init', `the table has ${i} entries, not ${nents}`, 'sg_chain');
        }
        link = link.following;
      }
      check(link, 'sg_chain');
      link.page = null;
      link.offset = link.length = 0;
      link.end = false;
      link.chain = next;
    },

    /** Bus address of a mapped entry. */
    sg_dma_address(entry: Scatterlist): number {
      return entry.dma_address;
    },

    /** Bytes of a mapped entry as the device sees it. */
    sg_dma_len(entry: Scatterlist): number {
      return entry.dma_length;
    },
  };

  function eachPiece(
    sgl: Scatterlist,
    nents: number,
    bytes: number,
    each: (phys: number, done: number, bytes: number) => void,
  ): number {
    let done = 0;
    for (const entry of sg.for_each_sg(sgl, nents)) {
      if (done === bytes) break;
      const piece = Math.min(entry.length, bytes - done);
      each(sg.sg_phys(entry), done, piece);
      done += piece;
    }
    return done;
  }

  return sg;
}

function check(entry: Scatterlist, where: string): void {
  if ((entry as Scatterlist | null)?.initialised === undefined)
    throw badArgument(entry, 'a scatter list', where);
  if (!entry.initialised) throw new KernelBug('sg-init', 'the scatter list is not initialised', where);
}
