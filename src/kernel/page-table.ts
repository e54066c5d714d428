// The page table of an address space: for each page of user memory what is there and what the CPU may do with it.
// Two levels: a map of leaves, each for 256 KiB. Looking up allocates nothing; the last leaf is found without a search.

import { PAGE_SIZE, type Page } from './page.ts';

/** Something is there. */
export const PTE_PRESENT = 1;
/** The CPU may read it; unset on a present page without access (PROT_NONE). */
export const PTE_READ = 2;
export const PTE_WRITE = 4;
/** Set by the CPU on access and on writing. */
export const PTE_ACCESSED = 8;
export const PTE_DIRTY = 16;
/** Not counted: the zero page, or a frame of a VM_PFNMAP area, which need not be RAM. */
export const PTE_SPECIAL = 32;
/** Part of a huge page; its head is counted once. */
export const PTE_HUGE = 64;
/** Not present: the page that was here was poisoned. */
export const PTE_HWPOISON = 128;

const LEAF_PAGES = 64;
const LEAF_BYTES = LEAF_PAGES * PAGE_SIZE;

class Leaf {
  readonly bits = new Uint8Array(LEAF_PAGES);
  readonly pages: (Page | null)[] = new Array<Page | null>(LEAF_PAGES).fill(null);
  /** Frame numbers of special entries without a page; made when first needed. */
  pfns: Float64Array | null = null;
  used = 0;
}

/** Addresses are those of pages, multiples of 4096 from 0 to 2^47. */
export class PageTable {
  private readonly leaves = new Map<number, Leaf>();
  private lastKey = -1;
  private lastLeaf: Leaf | null = null;

  /** PTE_… bits; 0 when nothing is there. */
  bits(address: number): number {
    const leaf = this.leaf(Math.floor(address / LEAF_BYTES));
    return leaf === null ? 0 : (leaf.bits[slot(address)] as number);
  }

  /** The page; null when nothing is there, or a frame without a page. */
  page(address: number): Page | null {
    const leaf = this.leaf(Math.floor(address / LEAF_BYTES));
    return leaf === null ? null : (leaf.pages[slot(address)] as Page | null);
  }

  /** The page, if of the bits in `mask` exactly `wanted` are set: one look instead of two. */
  pageWith(address: number, mask: number, wanted: number): Page | null {
    const leaf = this.leaf(Math.floor(address / LEAF_BYTES));
    if (leaf === null) return null;
    const at = slot(address);
    return ((leaf.bits[at] as number) & mask) === wanted ? (leaf.pages[at] as Page | null) : null;
  }

  /** Frame number; -1 when nothing is there. */
  pfn(address: number): number {
    const leaf = this.leaf(Math.floor(address / LEAF_BYTES));
    if (leaf === null) return -1;
    const at = slot(address);
    if (((leaf.bits[at] as number) & PTE_PRESENT) === 0) return -1;
    return leaf.pages[at]?.pfn ?? leaf.pfns?.[at] ?? -1;
  }

  /** Enters a page; what was there before is overwritten. */
  set(address: number, page: Page, bits: number): void {
    this.enter(address, page, bits);
  }

  /** Enters a frame that has no page. */
  setPfn(address: number, pfn: number, bits: number): void {
    const leaf = this.enter(address, null, bits);
    leaf.pfns ??= new Float64Array(LEAF_PAGES);
    leaf.pfns[slot(address)] = pfn;
  }

  /** Changes the bits of an entry that is there. */
  setBits(address: number, bits: number): void {
    const leaf = this.leaf(Math.floor(address / LEAF_BYTES));
    if (leaf !== null) leaf.bits[slot(address)] = bits;
  }

  clear(address: number): void {
    const key = Math.floor(address / LEAF_BYTES);
    const leaf = this.leaf(key);
    if (leaf === null) return;
    const at = slot(address);
    if (leaf.bits[at] === 0) return;
    leaf.bits[at] = 0;
    leaf.pages[at] = null;
    if (--leaf.used > 0) return;
    this.leaves.delete(key);
    this.lastKey = -1;
    this.lastLeaf = null;
  }

  /** Address of the first entry in from..end-1; -1 when there is none. Skips what is empty. */
  next(from: number, end: number): number {
    let address = from;
    while (address < end) {
      const key = Math.floor(address / LEAF_BYTES);
      const leafEnd = (key + 1) * LEAF_BYTES;
      const leaf = this.leaf(key);
      if (leaf !== null) {
        for (; address < end && address < leafEnd; address += PAGE_SIZE) {
          if (leaf.bits[slot(address)] !== 0) return address;
        }
      }
      address = leafEnd;
      if (leaf === null && address < end) address = this.skip(key + 1, end);
    }
    return -1;
  }

  /** Start of the first leaf from a key on; `end` when there is none below. */
  private skip(key: number, end: number): number {
    const lastKey = Math.ceil(end / LEAF_BYTES);
    if (lastKey - key <= this.leaves.size) return key * LEAF_BYTES;
    let first = lastKey;
    for (const candidate of this.leaves.keys()) if (candidate >= key && candidate < first) first = candidate;
    return Math.min(first * LEAF_BYTES, end);
  }

  private enter(address: number, page: Page | null, bits: number): Leaf {
    const key = Math.floor(address / LEAF_BYTES);
    const leaf = this.leaf(key) ?? this.grow(key);
    const at = slot(address);
    if (leaf.bits[at] === 0) leaf.used++;
    leaf.bits[at] = bits;
    leaf.pages[at] = page;
    return leaf;
  }

  private leaf(key: number): Leaf | null {
    if (key === this.lastKey) return this.lastLeaf;
    const leaf = this.leaves.get(key);
    if (leaf === undefined) return null;
    this.lastKey = key;
    this.lastLeaf = leaf;
    return leaf;
  }

  private grow(key: number): Leaf {
    const leaf = new Leaf();
    this.leaves.set(key, leaf);
    this.lastKey = key;
    this.lastLeaf = leaf;
    return leaf;
  }
}

/** Index in its leaf; exact, since bit operations take numbers modulo 2^32. */
function slot(address: number): number {
  return (address / PAGE_SIZE) & (LEAF_PAGES - 1);
}
