export type { Page } from '../kernel/index.ts';
