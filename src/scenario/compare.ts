// One workload through several kernels, and when they differ the shortest one that shows it.

import { Comparison } from './compare-run.ts';
import type { ComparedKernel, Reason } from './compare-side.ts';

export interface CompareOptions {
  readonly module: WebAssembly.Module;
  /** A controller's name or a profile's. */
  readonly controller: string;
  readonly kernels: readonly ComparedKernel[];
  /** 0 to 2^32 − 1. */
  readonly seed: number;
  readonly operations: number;
  /** Told now and then how far the comparison is, 0 to 1. */
  readonly onProgress?: (done: number) => void;
  /** Awaited now and then, so that signals and timers are served; may throw to stop. */
  readonly pause?: () => Promise<void>;
}

/** The first thing that was not as it should be. */
export interface Difference {
  /** Index of the operation after which it was seen; null: at the end. */
  readonly operation: number | null;
  readonly kernel: string;
  /** One sentence: what was done, and what came of it. */
  readonly what: string;
}

/** What one kernel did for the workload. */
export interface KernelFigures {
  readonly kernel: string;
  readonly pinnedPages: number;
  readonly copies: number;
  readonly copiedBytes: number;
  readonly segments: number;
  readonly commands: number;
  readonly interrupts: number;
  /** Requests that failed for the process's memory or the end of the disk after a part of them was done. */
  readonly partial: number;
}

export interface CompareReport {
  readonly ok: boolean;
  readonly controller: string;
  readonly profile: string;
  readonly seed: number;
  /** How many were asked for. */
  readonly operations: number;
  /** How many requests had to fail, by reason. */
  readonly failures: Readonly<Record<Reason, number>>;
  readonly kernels: readonly KernelFigures[];
  /** What the shortest workload shows. */
  readonly difference: Difference | null;
  /** The least number of operations that shows a difference, found by halving; null: none does. */
  readonly smallest: number | null;
}

/** Compares. Throws MachineError where there is no such controller, or a driver finds no disk. */
export async function compareKernels(options: CompareOptions): Promise<CompareReport> {
  const report = await new Comparison(options).run();
  let { difference } = report;
  if (difference === null) return report;
  let fails = difference.operation === null ? options.operations : difference.operation + 1;
  let passes = 0;
  let operations = fails - 1; // most differences are seen at once
  while (fails - passes > 1) {
    const shorter = await new Comparison({ ...options, operations }).run();
    if (shorter.difference === null) passes = operations;
    else {
      fails = operations;
      ({ difference } = shorter);
    }
    operations = Math.floor((fails + passes) / 2);
  }
  return { ...report, difference, smallest: fails };
}
