// Limits of locked memory (resource_controls(7)): project.max-locked-memory and zone.max-locked-memory.

import type { Proc, ResourceControl } from './proc.ts';

/** One more than the largest size_t. */
const SIZE_T_END = 2 ** 64;

function admits({ usage, limit, action }: ResourceControl, bytes: number): boolean {
  if (usage + bytes >= SIZE_T_END) return false;
  return usage + bytes <= limit || action !== 'deny';
}

/**
 * Charges locked memory to a process, its project and its zone.
 * @returns true, or false for a refusal: nothing is charged then
 */
export function chargeLocked(proc: Proc, bytes: number): boolean {
  const project = proc.p_project.max_locked_memory;
  const zone = proc.p_zone.max_locked_memory;
  if (!admits(project, bytes) || !admits(zone, bytes)) return false;
  project.usage += bytes;
  zone.usage += bytes;
  proc.p_locked_mem += bytes;
  return true;
}

/** Takes a charge back. */
export function refundLocked(proc: Proc, bytes: number): void {
  proc.p_project.max_locked_memory.usage -= bytes;
  proc.p_zone.max_locked_memory.usage -= bytes;
  proc.p_locked_mem -= bytes;
}

/** True when neither limit is one: then nothing is counted. */
export function lockingUnlimited(proc: Proc): boolean {
  const { limit } = proc.p_project.max_locked_memory;
  return limit === Number.POSITIVE_INFINITY && proc.p_zone.max_locked_memory.limit === limit;
}
