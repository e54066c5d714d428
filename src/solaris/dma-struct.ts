// Handles, cookies and bindings of DMA. The functions are in dma.ts, dma-window.ts and dma-mem.ts.

import { KernelBug, type Page } from '../kernel/index.ts';
import type { Buf } from './buf-struct.ts';
import type { DevInfo } from './dev-info.ts';
import { DDI_DMA_FLAGERR, type DdiDmaAttr, type DmaLimits } from './dma-attr.ts';
import type { DmaGuard } from './dma-guard.ts';
import type { WindowPlan } from './dma-plan.ts';

/** What to do without resources: give up, or wait for them. */
export const DDI_DMA_DONTWAIT = 0;
export const DDI_DMA_SLEEP = 1;
/** What a call-back returns: resources were still missing and it wants to be called again; it got what it wanted. */
export const DDI_DMA_CALLBACK_RUNOUT = 0;
export const DDI_DMA_CALLBACK_DONE = 1;

/** DDI_DMA_DONTWAIT, DDI_DMA_SLEEP, or what is called, in interrupt context, when resources may be there again. */
export type DmaWaitfp<A> = typeof DDI_DMA_DONTWAIT | typeof DDI_DMA_SLEEP | ((arg: A) => number);

/** Memory that a device may use (ddi_dma_cookie(9S)). */
export class DdiDmaCookie {
  dmac_laddress: number;
  dmac_size: number;
  dmac_type = 0;

  constructor(address = 0, size = 0) {
    this.dmac_laddress = address;
    this.dmac_size = size;
  }

  /** The low half of the address. */
  get dmac_address(): number {
    return this.dmac_laddress % 2 ** 32;
  }
}

/** A cookie of the window that is current. */
export class WindowCookie extends DdiDmaCookie {
  readonly index: number;

  constructor(index: number, address: number, size: number) {
    super(address, size);
    this.index = index;
  }
}

/** Memory of the kernel that is bound, for who frees it. */
export interface KernelRange {
  readonly start: number;
  readonly end: number;
}

/** What is bound to a handle. */
export class Binding {
  /** Bytes of the object. */
  readonly bytes: number;
  /** DDI_DMA_READ | DDI_DMA_WRITE and the others as the caller said. */
  readonly flags: number;
  /** Name of the function that bound, and of the place where, for the guard. */
  readonly kind: string;
  readonly where: string;
  readonly buf: Buf | null;
  readonly kernel: KernelRange | null;
  /** Everything is direct and in one window: nothing is ever copied. */
  readonly fast: boolean;
  /** Windows were needed. */
  readonly partial: boolean;
  readonly windows: readonly WindowPlan[];
  /** The copy buffer. */
  readonly copies: readonly Page[];
  current = 0;
  cookies: readonly WindowCookie[] = [];
  /** The cookie that ddi_dma_nextcookie() gives next. */
  cursor = 1;
  /** Frames of the object that were unlocked since, or before it was bound; null: none. */
  unlocked: Set<number> | null;

  constructor(init: Omit<Binding, 'current' | 'cookies' | 'cursor' | 'window'>) {
    this.bytes = init.bytes;
    this.flags = init.flags;
    this.kind = init.kind;
    this.where = init.where;
    this.buf = init.buf;
    this.kernel = init.kernel;
    this.fast = init.fast;
    this.partial = init.partial;
    this.windows = init.windows;
    this.copies = init.copies;
    this.unlocked = init.unlocked;
  }

  /** The current window; an object of no bytes has none. */
  get window(): WindowPlan | null {
    return this.windows[this.current] ?? null;
  }
}

/** ddi_dma_handle_t. */
export class DdiDmaHandle {
  readonly dip: DevInfo;
  /** A copy: what the driver does to its own later means nothing. */
  readonly attr: DdiDmaAttr;
  readonly limits: DmaLimits;
  binding: Binding | null = null;
  freed = false;
  /** Faults of the device's DMA that were there already; counted with DDI_DMA_FLAGERR alone. */
  faults: number;
  /** Who is told of its misuse. */
  readonly guard: DmaGuard | null;

  constructor(dip: DevInfo, attr: DdiDmaAttr, limits: DmaLimits, guard: DmaGuard | null) {
    this.dip = dip;
    this.guard = guard;
    const counts = (attr.dma_attr_flags & DDI_DMA_FLAGERR) !== 0;
    this.faults = counts ? dip.controller.counters.dmaFaults : 0;
    this.attr = { ...attr };
    this.limits = limits;
  }
}

/** The handle, if it is one that was not freed. @throws KernelBug `HDL-08` */
export function mustHandle(handle: DdiDmaHandle | null, where: string): DdiDmaHandle {
  if (!(handle instanceof DdiDmaHandle)) throw new KernelBug('HDL-08', 'no DMA handle', where);
  if (handle.freed) {
    handle.guard?.misused(handle, where);
    throw new KernelBug('HDL-08', 'the handle was freed', where);
  }
  return handle;
}

/** Whether a handle that is to be bound is bound already. */
export function isInUse(handle: DdiDmaHandle, where: string): boolean {
  if (handle.binding === null) return false;
  handle.guard?.misused(handle, where);
  return true;
}

/** What is bound to the handle. @throws KernelBug with `rule` when nothing is */
export function mustBound(handle: DdiDmaHandle | null, rule: string, where: string): Binding {
  const { binding } = mustHandle(handle, where);
  if (binding === null) throw new KernelBug(rule, 'nothing is bound to the handle', where);
  return binding;
}
