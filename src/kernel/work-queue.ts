// Deferred work: what an interrupt may not do is done by a thread of the kernel.

import { KernelBug } from './errors.ts';
import type { Scheduler } from './scheduler.ts';
import { type Sleeps, type Task, WaitQueue } from './task.ts';
import { Timer } from './timer.ts';

/** Something to be done once per queueing. One queue at a time. */
export class Work {
  readonly name: string;
  readonly run: () => Sleeps<void>;
  /** The queue on which it waits; null when it does not, or runs already. */
  queue: WorkQueue | null = null;
  /** Place in the order of all work of its queue; meaningful once it is due. */
  ticket = 0;
  /** Runs out when a delayed work is due. */
  readonly delay: Timer;

  constructor(name: string, run: () => Sleeps<void>) {
    this.name = name;
    this.run = run;
    this.delay = new Timer(`delay of ${name}`, () => this.queue?.due(this));
  }
}

/** A queue of work with one thread, made when it is first needed: in order, one at a time. */
export class WorkQueue {
  readonly name: string;
  private readonly scheduler: Scheduler;
  private readonly list: Work[] = [];
  private readonly idle: WaitQueue;
  private readonly flushers: WaitQueue;
  private thread: Task | null = null;
  private stopping = false;
  private tickets = 0;
  /** Ticket of the work that the thread is doing; 0 while it does none. */
  private running = 0;

  constructor(scheduler: Scheduler, name: string) {
    this.scheduler = scheduler;
    this.name = name;
    this.idle = new WaitQueue(`${name}: idle`);
    this.flushers = new WaitQueue(`${name}: flush`);
    this.flushers.wakers = () => `the thread of ${name}`;
  }

  /** Queues the work; false when it waits already. Any context. */
  queue(work: Work): boolean {
    if (!this.take(work)) return false;
    this.due(work);
    return true;
  }

  /** Queues the work after `ns` virtual nanoseconds; false when it waits already. Any context. */
  queueDelayed(work: Work, ns: number): boolean {
    if (!this.take(work)) return false;
    this.scheduler.armTimer(work.delay, this.scheduler.now() + ns);
    return true;
  }

  /** Takes the work back; false when it does not wait (it may be running). Any context. */
  cancel(work: Work): boolean {
    if (work.queue !== this) return false;
    if (!this.scheduler.cancelTimer(work.delay)) this.list.splice(this.list.indexOf(work), 1);
    work.queue = null;
    this.scheduler.wakeAll(this.flushers);
    return true;
  }

  /** Waits until all work that is due now has been done. */
  *flush(): Sleeps<void> {
    this.scheduler.mightSleep(this.name);
    const last = this.tickets;
    const oldest = (): number =>
      this.running > 0 ? this.running : (this.list[0]?.ticket ?? Number.POSITIVE_INFINITY);
    while (oldest() <= last)
      yield* this.scheduler.sleep(this.flushers, {
        what: `work on ${this.name}`,
      });
  }

  /** Does what is left and ends the thread. @throws KernelBug `work-destroyed` when it is used afterwards */
  *destroy(): Sleeps<void> {
    yield* this.flush();
    this.stopping = true;
    this.scheduler.wakeAll(this.idle);
    if (this.thread !== null) yield* this.scheduler.join(this.thread);
  }

  /** A delay is over. */
  due(work: Work): void {
    work.ticket = ++this.tickets;
    this.list.push(work);
    if (this.thread === null)
      this.thread = this.scheduler.spawn(this.name, () => this.serve(), {
        kthread: true,
      });
    this.scheduler.wakeOne(this.idle);
  }

  private take(work: Work): boolean {
    if (this.stopping) throw new KernelBug('work-destroyed', `${work.name} queued after destroy`, this.name);
    if (work.queue !== null) return false;
    work.queue = this;
    return true;
  }

  private *serve(): Sleeps<void> {
    for (;;) {
      const work = this.list.shift();
      if (work !== undefined) {
        this.running = work.ticket;
        work.queue = null; // from here on it can be queued again
        yield* work.run();
        this.running = 0;
        this.scheduler.wakeAll(this.flushers);
      } else if (this.stopping) {
        return;
      } else {
        yield this.scheduler.park(this.idle, { what: 'work', idle: true });
      }
    }
  }
}
