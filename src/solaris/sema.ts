// Semaphores (semaphore(9F)) and readers' and writers' locks (rwlock(9F)).

import { KernelBug, RwSem, Semaphore, type Sleeps } from '../kernel/index.ts';
import type { Solaris } from './kernel.ts';

export const SEMA_DRIVER = 1;
export const RW_DRIVER = 2;
/** How rw_enter() takes a lock. */
export const RW_WRITER = 0;
export const RW_READER = 1;

/** ksema_t. */
export class Ksema {
  inner: Semaphore | null = null;
}

/** krwlock_t. */
export class Krwlock {
  inner: RwSem | null = null;
}

export function createSema(k: Solaris) {
  function sema({ inner }: Ksema, where: string): Semaphore {
    if (inner === null) throw new KernelBug('sema-init', 'sema_init() was not called', where);
    return inner;
  }

  function lock({ inner }: Krwlock, where: string): RwSem {
    if (inner === null) throw new KernelBug('rw-init', 'rw_init() was not called', where);
    return inner;
  }

  return {
    /** Prepares a semaphore. User or kernel context. @param val units that are free, 0 and up */
    sema_init(sp: Ksema, val: number, name: string, _type: number, _arg: null): void {
      if (sp.inner !== null) throw new KernelBug('sema-init', 'initialised twice', name);
      sp.inner = new Semaphore(k.scheduler, name, val);
    },

    /** Its end: nobody may use it any more. User or kernel context. */
    sema_destroy(sp: Ksema): void {
      sema(sp, 'sema_destroy');
      sp.inner = null;
    },

    /** Takes a unit; waits for one. User and kernel context. */
    *sema_p(sp: Ksema): Sleeps<void> {
      yield* sema(sp, 'sema_p').down();
    },

    /** Takes a unit if one is free: 1, or 0. Any context but high-level interrupts. */
    sema_tryp(sp: Ksema): number {
      return sema(sp, 'sema_tryp').tryDown() ? 1 : 0;
    },

    /** Gives a unit to who waits longest, or back. Any context but high-level interrupts. */
    sema_v(sp: Ksema): void {
      sema(sp, 'sema_v').up();
    },

    // ---- readers and writers

    /** Prepares a lock that threads alone take. User or kernel context. */
    rw_init(rwlp: Krwlock, name: string, _type: number, _arg: null): void {
      if (rwlp.inner !== null) throw new KernelBug('rw-init', 'initialised twice', name);
      rwlp.inner = new RwSem(k.scheduler, name);
    },

    /** Its end: nobody may use it any more. User or kernel context. */
    rw_destroy(rwlp: Krwlock): void {
      lock(rwlp, 'rw_destroy');
      rwlp.inner = null;
    },

    /**
     * Takes the lock; waits for it. User and kernel context.
     * @param enter_type RW_READER or RW_WRITER
     * @throws KernelBug `lock-self` when the caller has it already
     */
    *rw_enter(rwlp: Krwlock, enter_type: number): Sleeps<void> {
      const inner = lock(rwlp, 'rw_enter');
      if (enter_type === RW_READER) yield* inner.read();
      else yield* inner.write();
    },

    /** Takes the lock if that needs no waiting: 1, or 0. User and kernel context. */
    rw_tryenter(rwlp: Krwlock, enter_type: number): number {
      const inner = lock(rwlp, 'rw_tryenter');
      return (enter_type === RW_READER ? inner.tryRead() : inner.tryWrite()) ? 1 : 0;
    },

    /**
     * Gives it back, however it was taken. User or kernel context.
     * @throws KernelBug `lock-owner` when the caller does not have it
     */
    rw_exit(rwlp: Krwlock): void {
      const inner = lock(rwlp, 'rw_exit');
      if (inner.writtenBy(k.cpu.current)) inner.unlockWrite();
      else inner.unlockRead();
    },

    /**
     * The writer goes on as a reader, without a gap. User or kernel context.
     * @throws KernelBug `lock-owner` when the caller is not the writer
     */
    rw_downgrade(rwlp: Krwlock): void {
      lock(rwlp, 'rw_downgrade').downgrade();
    },

    /** 1 when the caller has it as a reader, else 0; for assertions. User or kernel context. */
    rw_read_locked(rwlp: Krwlock): number {
      const inner = lock(rwlp, 'rw_read_locked');
      return inner.heldBy(k.cpu.current) && !inner.writtenBy(k.cpu.current) ? 1 : 0;
    },
  };
}
