// Trace points of the block layer (include/trace/events/block.h) and some of our own for what the kernel does not
// tell: pins, copies and DMA mappings. Nobody listens by default, and then a trace point is one comparison.

import type { NoSleep } from '../kernel/index.ts';
import type { Bio, BioQueue, BlockDevice } from './bio-struct.ts';

/** What a trace point sees of a request. */
export interface TracedRequest {
  /** First sector of 512 bytes. */
  readonly __sector: number;
  /** Bytes. */
  readonly __data_len: number;
  readonly errors: number;
  readonly bio: Bio | null;
}

/** One mapping for DMA, as the driver's side of the kernel asked for it. */
export interface TracedMapping {
  /** Bus address. */
  readonly address: number;
  /** Physical address of the memory; differs from `address` when a software bounce buffer is in between. */
  readonly cpu: number;
  readonly bytes: number;
  /** DMA_BIDIRECTIONAL 0, DMA_TO_DEVICE 1, DMA_FROM_DEVICE 2. */
  readonly direction: number;
}

/** Why bytes were copied by the CPU on their way. */
export type CopyReason = 'map-user' | 'unmap-user' | 'map-kern' | 'bounce' | 'swiotlb';

/** What can be listened to. Every call-back is optional, must not sleep and must not keep the objects. */
export interface TraceListener {
  /** A bio passed all checks of generic_make_request and goes to its queue. */
  block_bio_queue?(q: BioQueue, bio: Bio): NoSleep;
  /** A bio was replaced by a copy in reachable memory; called with the original. */
  block_bio_bounce?(q: BioQueue, bio: Bio): NoSleep;
  /** A bio was cut; called with the front, and the first sector of the rest. */
  block_split?(q: BioQueue, bio: Bio, new_sector: number): NoSleep;
  /** A bio went from a partition or a stacked device to another place; `dev` and `from` are where it was. */
  block_bio_remap?(q: BioQueue, bio: Bio, dev: BlockDevice, from: number): NoSleep;
  /** A bio that went to a queue has ended. */
  block_bio_complete?(q: BioQueue, bio: Bio, error: number): NoSleep;
  block_bio_backmerge?(q: BioQueue, rq: TracedRequest, bio: Bio): NoSleep;
  block_bio_frontmerge?(q: BioQueue, rq: TracedRequest, bio: Bio): NoSleep;
  /** A request was allocated; `bio` is null for a passthrough request. */
  block_getrq?(q: BioQueue, bio: Bio | null, rw: number): NoSleep;
  /** A task goes to sleep because all requests are in use. */
  block_sleeprq?(q: BioQueue, bio: Bio | null, rw: number): NoSleep;
  block_rq_insert?(q: BioQueue, rq: TracedRequest): NoSleep;
  block_rq_issue?(q: BioQueue, rq: TracedRequest): NoSleep;
  block_rq_requeue?(q: BioQueue, rq: TracedRequest): NoSleep;
  block_rq_complete?(q: BioQueue, rq: TracedRequest, nr_bytes: number): NoSleep;
  block_plug?(q: BioQueue): NoSleep;
  block_unplug?(q: BioQueue, depth: number, explicit: boolean): NoSleep;
  /** User pages were pinned for a transfer. */
  pages_pinned?(start: number, pages: number, write: boolean): NoSleep;
  /** The CPU copied bytes on the way between user memory and device. */
  pages_copied?(why: CopyReason, bytes: number): NoSleep;
  dma_map?(mapping: TracedMapping): NoSleep;
  dma_unmap?(mapping: TracedMapping): NoSleep;
  /** The cache was emptied over a range of vmalloc addresses, or what it held was forgotten. */
  vmap_flush?(addr: number, size: number): NoSleep;
  vmap_invalidate?(addr: number, size: number): NoSleep;
}

/** The trace points that the subjects call, and the list of who listens. */
export class LinuxTrace {
  /** True when somebody listens: asked before arguments are put together. */
  active = false;
  private listeners: readonly TraceListener[] = [];

  /** Adds a listener; the result takes it away again. */
  listen(listener: TraceListener): () => void {
    this.listeners = [...this.listeners, listener];
    this.active = true;
    return () => {
      this.listeners = this.listeners.filter((other) => other !== listener);
      this.active = this.listeners.length > 0;
    };
  }

  block_bio_queue(q: BioQueue, bio: Bio): void {
    if (this.active) for (const listener of this.listeners) listener.block_bio_queue?.(q, bio);
  }

  block_bio_bounce(q: BioQueue, bio: Bio): void {
    if (this.active) for (const listener of this.listeners) listener.block_bio_bounce?.(q, bio);
  }

  block_split(q: BioQueue, bio: Bio, new_sector: number): void {
    if (this.active) for (const listener of this.listeners) listener.block_split?.(q, bio, new_sector);
  }

  block_bio_remap(q: BioQueue, bio: Bio, dev: BlockDevice, from: number): void {
    if (this.active) for (const listener of this.listeners) listener.block_bio_remap?.(q, bio, dev, from);
  }

  block_bio_complete(q: BioQueue, bio: Bio, error: number): void {
    if (this.active) for (const listener of this.listeners) listener.block_bio_complete?.(q, bio, error);
  }

  block_bio_backmerge(q: BioQueue, rq: TracedRequest, bio: Bio): void {
    if (this.active) for (const listener of this.listeners) listener.block_bio_backmerge?.(q, rq, bio);
  }

  block_bio_frontmerge(q: BioQueue, rq: TracedRequest, bio: Bio): void {
    if (this.active) for (const listener of this.listeners) listener.block_bio_frontmerge?.(q, rq, bio);
  }

  block_getrq(q: BioQueue, bio: Bio | null, rw: number): void {
    if (this.active) for (const listener of this.listeners) listener.block_getrq?.(q, bio, rw);
  }

  block_sleeprq(q: BioQueue, bio: Bio | null, rw: number): void {
    if (this.active) for (const listener of this.listeners) listener.block_sleeprq?.(q, bio, rw);
  }

  block_rq_insert(q: BioQueue, rq: TracedRequest): void {
    if (this.active) for (const listener of this.listeners) listener.block_rq_insert?.(q, rq);
  }

  block_rq_issue(q: BioQueue, rq: TracedRequest): void {
    if (this.active) for (const listener of this.listeners) listener.block_rq_issue?.(q, rq);
  }

  block_rq_requeue(q: BioQueue, rq: TracedRequest): void {
    if (this.active) for (const listener of this.listeners) listener.block_rq_requeue?.(q, rq);
  }

  block_rq_complete(q: BioQueue, rq: TracedRequest, nr_bytes: number): void {
    if (this.active) for (const listener of this.listeners) listener.block_rq_complete?.(q, rq, nr_bytes);
  }

  block_plug(q: BioQueue): void {
    if (this.active) for (const listener of this.listeners) listener.block_plug?.(q);
  }

  block_unplug(q: BioQueue, depth: number, explicit: boolean): void {
    if (this.active) for (const listener of this.listeners) listener.block_unplug?.(q, depth, explicit);
  }

  pages_pinned(start: number, pages: number, write: boolean): void {
    if (this.active) for (const listener of this.listeners) listener.pages_pinned?.(start, pages, write);
  }

  pages_copied(why: CopyReason, bytes: number): void {
    if (this.active) for (const listener of this.listeners) listener.pages_copied?.(why, bytes);
  }

  dma_map(mapping: TracedMapping): void {
    if (this.active) for (const listener of this.listeners) listener.dma_map?.(mapping);
  }

  dma_unmap(mapping: TracedMapping): void {
    if (this.active) for (const listener of this.listeners) listener.dma_unmap?.(mapping);
  }

  vmap_flush(addr: number, size: number): void {
    if (this.active) for (const listener of this.listeners) listener.vmap_flush?.(addr, size);
  }

  vmap_invalidate(addr: number, size: number): void {
    if (this.active) for (const listener of this.listeners) listener.vmap_invalidate?.(addr, size);
  }
}
