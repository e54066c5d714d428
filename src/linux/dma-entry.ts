// A mapping as dma-debug.ts keeps it.

import type { Access } from '../guard/index.ts';
import { endOf, type Owned, PAGE_SIZE } from '../kernel/index.ts';

/** Bytes of a line of the CPU's cache. */
export const CACHE_LINE = 64;

/** By DMA_BIDIRECTIONAL, DMA_TO_DEVICE, DMA_FROM_DEVICE: what the device may do. */
export const ACCESS: readonly Access[] = ['both', 'read', 'write'];

type MappingKind = 'dma_map_single' | 'dma_map_page' | 'dma_map_sg' | 'dma_alloc_coherent';

/** One call that maps or unmaps. */
export interface MappingCall {
  readonly kind: MappingKind;
  /** Bus address. */
  readonly address: number;
  /** Physical address of the memory, as the CPU knows it. */
  readonly cpu: number;
  readonly size: number;
  readonly dir: number;
  readonly where: string;
}

/** A mapping that is alive. */
export interface Entry extends MappingCall, Owned {
  readonly cpu: number;
  readonly address: number;
  readonly size: number;
  /** Entries of the whole scatter list, as given to dma_map_sg(); 0 for the others. */
  readonly nents: number;
  /** Whether somebody asked dma_mapping_error() about it; always so for what cannot be asked about. */
  checked: boolean;
}

/** Numbers of the pages that its cache lines are in. */
export function firstPfn(entry: Entry): number {
  return Math.floor(lineOf(entry.cpu) / PAGE_SIZE);
}

export function lastPfn(entry: Entry): number {
  return Math.floor((endOf(entry) - 1) / PAGE_SIZE);
}

/** First address of the cache line of an address. */
export function lineOf(address: number): number {
  return address - (address % CACHE_LINE);
}
