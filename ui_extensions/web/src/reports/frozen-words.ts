/** What a frozen panel cannot know of its moment: MLflow does not keep when params and tags were set. */
export const FROZEN_WORDS = "params and tags are those of now"
