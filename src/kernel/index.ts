// What both kernels stand on: tasks, virtual time, interrupts, page frames, address spaces.

export { Cpu, type LockWatch, TOP_PRIORITY } from './cpu.ts';
export {
  AsyncMediaError,
  type BlockedTask,
  DeadlockError,
  type DeadlockReport,
  describeDeadlock,
  KernelBug,
} from './errors.ts';
export { FailurePlan, type FailureRules } from './failure-plan.ts';
export {
  DEVICE_PRIORITY,
  Interrupts,
  type InterruptsOptions,
  type IrqAction,
  type IrqHandler,
  NOBODY_CARED,
  SOFT_PRIORITY,
  type SoftInterrupt,
  STORM_CALLS,
} from './irq.ts';
export { Completion, Mutex, RwSem, Semaphore, SpinLock } from './lock.ts';
export type {
  AdvanceResult,
  MemoryRegion,
  PhysMemory,
  Platform,
} from './platform.ts';
export { Random } from './random.ts';
export {
  type InterruptSource,
  LIVELOCK_YIELDS,
  type RunOptions,
  type RunResult,
  Scheduler,
  type SchedulerOptions,
  type SpawnOptions,
  VAIN_POLLS,
} from './scheduler.ts';
export { SleepTracker } from './sleep-tracker.ts';
export {
  type NoSleep,
  SIGINT,
  SIGKILL,
  SIGSEGV,
  SIGTERM,
  type SleepOptions,
  type Sleeps,
  Task,
  type TaskState,
  type Wait,
  WaitQueue,
  type WakeReason,
} from './task.ts';
export { Timer } from './timer.ts';
export { type Warning, Warnings } from './warnings.ts';
export { Work, WorkQueue } from './work-queue.ts';
