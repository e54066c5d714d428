// The lock of a page, waiting for the end of its writeback, and its dirty flag.

import type { Cpu } from './cpu.ts';
import { KernelBug } from './errors.ts';
import { type Page, PG_dirty, PG_locked, PG_writeback, pageName } from './page.ts';
import type { Scheduler } from './scheduler.ts';
import { type SleepOptions, type Sleeps, WaitQueue } from './task.ts';

const FOR_LOCK: SleepOptions = { what: 'the page lock' };
const FOR_LOCK_KILLABLE: SleepOptions = { what: 'the page lock', interruptible: 'fatal' };
const FOR_WRITEBACK: SleepOptions = { what: 'the end of writeback' };

export class PageLocks {
  private readonly scheduler: Scheduler;
  /** Told of every page that is marked as changed; for the guard. */
  onDirty: ((page: Page) => void) | null = null;
  private readonly cpu: Cpu;

  constructor(scheduler: Scheduler) {
    this.scheduler = scheduler;
    this.cpu = scheduler.cpu;
  }

  /** Takes the lock if it is free: `if (!locks.tryLock(page)) yield* locks.lock(page);`. */
  tryLock(page: Page): boolean {
    if ((page.flags & PG_locked) !== 0) return false;
    page.flags |= PG_locked;
    page.locker = this.cpu.current;
    return true;
  }

  /** Linux: lock_page. */
  *lock(page: Page): Sleeps<void> {
    this.scheduler.mightSleep('lock_page');
    while (!this.tryLock(page)) yield this.scheduler.park(waitersOf(page), FOR_LOCK);
  }

  /** False, without the lock, when a fatal signal came first (Linux: lock_page_killable). */
  *lockKillable(page: Page): Sleeps<boolean> {
    this.scheduler.mightSleep('lock_page');
    while (!this.tryLock(page)) {
      if ((yield* this.scheduler.sleep(waitersOf(page), FOR_LOCK_KILLABLE)) === 'signal') return false;
    }
    return true;
  }

  /** Any context: the end of I/O unlocks pages. @throws KernelBug `page-unlock` when it is not locked */
  unlock(page: Page): void {
    if ((page.flags & PG_locked) === 0)
      throw new KernelBug('page-unlock', 'unlocked and not locked', pageName(page));
    page.flags &= ~PG_locked;
    page.locker = null;
    this.wake(page);
  }

  /** Waits until the page is not locked, without taking the lock (Linux: wait_on_page_locked). */
  *waitUnlocked(page: Page): Sleeps<void> {
    this.scheduler.mightSleep('wait_on_page_locked');
    while ((page.flags & PG_locked) !== 0) yield this.scheduler.park(waitersOf(page), FOR_LOCK);
  }

  /** As `waitUnlocked`; false when a fatal signal came first. */
  *waitUnlockedKillable(page: Page): Sleeps<boolean> {
    this.scheduler.mightSleep('wait_on_page_locked');
    while ((page.flags & PG_locked) !== 0) {
      if ((yield* this.scheduler.sleep(waitersOf(page), FOR_LOCK_KILLABLE)) === 'signal') return false;
    }
    return true;
  }

  /** Marks the page as being written; false when it was already (Linux: set_page_writeback). */
  startWriteback(page: Page): boolean {
    return !page.testSet(PG_writeback);
  }

  /** Any context. @throws KernelBug `page-writeback` when it is not being written */
  endWriteback(page: Page): void {
    if (!page.testClear(PG_writeback))
      throw new KernelBug('page-writeback', 'ended and not begun', pageName(page));
    this.wake(page);
  }

  *waitWriteback(page: Page): Sleeps<void> {
    this.scheduler.mightSleep('wait_on_page_writeback');
    while ((page.flags & PG_writeback) !== 0) yield this.scheduler.park(waitersOf(page), FOR_WRITEBACK);
  }

  /**
   * Marks the page as changed; true only if it was clean (Linux: set_page_dirty). The page must be locked or its
   * mapping stable in another way; else use `setDirtyLock`.
   * @throws KernelBug `PG-02` in interrupt context
   */
  setDirty(page: Page): boolean {
    if (this.cpu.inInterrupt)
      throw new KernelBug('PG-02', 'page dirtied in interrupt context', pageName(page));
    this.onDirty?.(page);
    const { mapping } = page;
    if (mapping !== null) return mapping.setPageDirty(page);
    return !page.testSet(PG_dirty);
  }

  /**
   * setDirtyLock() where it need not sleep: false when somebody has the page lock. A page of no file is marked without
   * taking it, since nothing can come in between.
   */
  trySetDirtyLock(page: Page): boolean {
    if (page.mapping === null) {
      if ((page.flags & PG_locked) !== 0) return false;
      this.setDirty(page);
      return true;
    }
    if (!this.tryLock(page)) return false;
    this.setDirty(page);
    this.unlock(page);
    return true;
  }

  /** The same under the page lock (Linux: set_page_dirty_lock). */
  *setDirtyLock(page: Page): Sleeps<boolean> {
    if (this.cpu.inInterrupt)
      throw new KernelBug('PG-02', 'page dirtied in interrupt context', pageName(page));
    if (!this.tryLock(page)) yield* this.lock(page);
    const dirtied = this.setDirty(page);
    this.unlock(page);
    return dirtied;
  }

  private wake(page: Page): void {
    if (page.waiters !== null && !page.waiters.empty) this.scheduler.wakeAll(page.waiters);
  }
}

function waitersOf(page: Page): WaitQueue {
  if (page.waiters !== null) return page.waiters;
  const queue = new WaitQueue(pageName(page));
  queue.wakers = () => {
    if (page.locker !== null) return `${page.locker.name} (${page.locker.pid}), who locked it`;
    return 'the end of its I/O';
  };
  page.waiters = queue;
  return queue;
}
