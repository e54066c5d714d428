// What both kernels stand on: tasks, virtual time, interrupts, page frames, address spaces.

export * from './base.ts';
export * from './cpu.ts';
export * from './errno.ts';
export * from './errors.ts';
export * from './failure-plan.ts';
export * from './fault.ts';
export * from './fault-flags.ts';
export * from './irq.ts';
export * from './lock.ts';
export { LockOrder } from './lock-order.ts';
export * from './mapping.ts';
export * from './mm.ts';
export * from './page.ts';
export * from './page-lock.ts';
export * from './page-table.ts';
export * from './platform.ts';
export * from './random.ts';
export * from './scheduler.ts';
export * from './sleep-tracker.ts';
export * from './task.ts';
export { Timer } from './timer.ts';
export type { UserCopy } from './user-copy.ts';
export * from './vm.ts';
export * from './vma.ts';
export * from './warnings.ts';
export * from './work-queue.ts';
export * from './zones.ts';
