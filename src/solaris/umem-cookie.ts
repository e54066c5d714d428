// The cookie of memory that a driver allocated or locked (ddi_umem_cookie_t). Drivers pass it on and look at nothing in it.

import type { HoldCallback, Page, Sleeps } from '../kernel/index.ts';
import type { PageListPtr } from './buf-struct.ts';
import type { Proc } from './proc.ts';

// ---- flags of ddi_umem_alloc() and ddi_umem_iosetup()

export const DDI_UMEM_SLEEP = 0;
export const DDI_UMEM_NOSLEEP = 1;
/** May be paged out. */
export const DDI_UMEM_PAGEABLE = 2;
/** No memory of its own, for mappings that lead nowhere. */
export const DDI_UMEM_TRASH = 4;

// ---- flags of ddi_umem_lock()

/** The memory will be read. */
export const DDI_UMEMLOCK_READ = 1;
/** The memory will be written. */
export const DDI_UMEMLOCK_WRITE = 2;
/** For umem_lockmemory() alone: for longer than one transfer. */
export const DDI_UMEMLOCK_LONGTERM = 4;

// ---- kinds of cookies

export const KMEM_PAGEABLE = 0x100;
export const KMEM_NON_PAGEABLE = 0x200;
export const UMEM_LOCKED = 0x400;
export const UMEM_TRASH = 0x800;
/** What was freed or unlocked. */
export const UMEM_GONE = 0;

/** What umem_lockmemory() calls back. */
export interface UmemCallbackOps {
  /** 1. */
  readonly cbo_umem_callback_version: number;
  /** Called once when somebody wants to unmap or protect what is locked: the driver stops using it and unlocks. */
  readonly cbo_umem_lock_cleanup: ((cookie: UmemCookie) => Sleeps<void>) | null;
}

export class UmemCookie {
  /** KMEM_… or UMEM_… */
  type: number;
  /** Of the process that locked, or the kernel's; 0 for UMEM_TRASH. */
  readonly addr: number;
  /** Bytes, whole pages. */
  readonly size: number;
  /** The kernel's own pages, or those of the lock. */
  readonly pages: readonly Page[];
  /** The list of the locked pages, if as_pagelock() made one. */
  readonly shadow: PageListPtr | null;
  /** Who locked; null: the kernel's own memory. */
  readonly proc: Proc | null;
  /** DDI_UMEMLOCK_… */
  readonly flags: number;
  /** The lock was charged to the limits of its process. */
  readonly charged: boolean;
  /** What waits for somebody to unmap the range; null: nothing. */
  callback: HoldCallback | null = null;
  /** The driver's cleanup is being called: the cookie must last until it returns. */
  cleaning = false;
  /** Was unlocked; in an interrupt it is unlocked later. */
  unlocked = false;

  constructor(init: UmemInit) {
    this.type = init.type;
    this.addr = init.addr;
    this.size = init.size;
    this.pages = init.pages ?? [];
    this.shadow = init.shadow ?? null;
    this.proc = init.proc ?? null;
    this.flags = init.flags ?? 0;
    this.charged = init.charged ?? false;
  }
}

export interface UmemInit {
  readonly type: number;
  readonly addr: number;
  readonly size: number;
  readonly pages?: readonly Page[];
  readonly shadow?: PageListPtr | null;
  readonly proc?: Proc;
  readonly flags?: number;
  readonly charged?: boolean;
}
