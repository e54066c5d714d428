// Fault injection: decides which calls of something fail. Used for page allocation, pools and user copies alike.

import type { Random } from './random.ts';

/** When calls fail; all that are set apply together. */
export interface FailureRules {
  /** Every call after the first n fails. */
  readonly after?: number;
  /** Every n-th call fails; 1 is all. */
  readonly every?: number;
  /** A call fails with this probability, 0..1. */
  readonly probability?: number;
}

export class FailurePlan {
  /** Calls asked about so far, since the rules were set. */
  calls = 0;
  /** How many of them had to fail. */
  failures = 0;
  private readonly random: Random;
  private rules: FailureRules | null = null;

  constructor(random: Random) {
    this.random = random;
  }

  /** Puts new rules into force; counting starts again. */
  set(rules: FailureRules): void {
    this.rules = rules;
    this.calls = 0;
    this.failures = 0;
  }

  /** From now on everything fails, until `off`. */
  failAll(): void {
    this.set({ after: 0 });
  }

  off(): void {
    this.rules = null;
  }

  get active(): boolean {
    return this.rules !== null;
  }

  /** Asks for one call. */
  shouldFail(): boolean {
    if (this.rules === null) return false;
    this.calls++;
    const { after, every, probability } = this.rules;
    const fails =
      (after !== undefined && this.calls > after) ||
      (every !== undefined && this.calls % every === 0) ||
      (probability !== undefined && this.random.chance(probability));
    if (fails) this.failures++;
    return fails;
  }
}
