-- Browser sessions, so that logging out ends them. `id` is the hash of what the signed cookie holds; times are Unix seconds.
CREATE TABLE IF NOT EXISTS `user_session` (
  `id` VARCHAR(64) NOT NULL,
  `user_id` VARCHAR(63) NOT NULL,
  `created_at` BIGINT NOT NULL,
  `expires_at` BIGINT NOT NULL,
  PRIMARY KEY (`id`)
);
CREATE INDEX `user_session_user_index` ON `user_session` (`user_id`);
CREATE INDEX `user_session_expiry_index` ON `user_session` (`expires_at`);

-- What was tried lately, for limits that all servers share. `free_at` (Unix milliseconds) is when nothing counts any more;
-- `attempt` tells an identical repeat from another try.
CREATE TABLE IF NOT EXISTS `rate_limit` (
  `name` VARCHAR(127) NOT NULL,
  `free_at` BIGINT NOT NULL,
  `attempt` VARCHAR(64) NOT NULL,
  `attempt_at` BIGINT NOT NULL,
  PRIMARY KEY (`name`)
);
CREATE INDEX `rate_limit_free_index` ON `rate_limit` (`free_at`);

-- Proof of possession (PKCE) of who asked for an authorization code.
ALTER TABLE `oauth2_auth_code` ADD COLUMN `code_challenge` VARCHAR(127) NULL;

-- Revoking all tokens of a user.
CREATE INDEX `oauth2_token_user_index` ON `oauth2_token` (`user_id`);
